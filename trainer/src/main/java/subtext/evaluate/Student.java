package subtext.evaluate;

/** Student's t: how many standard errors a 95 % interval of a mean reaches to either side. */
public final class Student {
    /** Two-sided 95 % quantiles by degrees of freedom, 1 to 30. */
    private static final double[] T95 = {
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
        2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042
    };

    private static final double NORMAL95 = 1.960;

    private Student() {}

    /**
     * {@return the two-sided 95 % quantile; beyond 30 degrees of freedom that of the normal law}
     *
     * @param degreesOfFreedom at least 1
     */
    public static double quantile95(int degreesOfFreedom) {
        return degreesOfFreedom <= T95.length ? T95[degreesOfFreedom - 1] : NORMAL95;
    }
}
