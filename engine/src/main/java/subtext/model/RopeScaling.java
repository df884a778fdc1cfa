package subtext.model;

/** How the rotary frequencies of a model are stretched for contexts longer than it was first trained on. */
public sealed interface RopeScaling {
    /** The frequency of pair i after scaling, radians per position, from the unscaled one. */
    double scale(double frequency);

    /** No stretching. */
    record None() implements RopeScaling {
        @Override
        public double scale(double frequency) {
            return frequency;
        }
    }

    /** Every frequency divided by the factor. Chen et al. 2023. */
    record Linear(double factor) implements RopeScaling {
        @Override
        public double scale(double frequency) {
            return frequency / factor;
        }
    }

    /**
     * Llama 3: long wavelengths divided by the factor, short ones kept, a linear blend between.
     *
     * @param lowFrequencyFactor wavelengths above originalContext / this are divided
     * @param highFrequencyFactor wavelengths below originalContext / this are kept
     * @param originalContext positions of the first training
     */
    record Llama3(double factor, double lowFrequencyFactor, double highFrequencyFactor, double originalContext)
            implements RopeScaling {
        @Override
        public double scale(double frequency) {
            double wavelength = 2 * Math.PI / frequency;
            if (wavelength < originalContext / highFrequencyFactor) {
                return frequency;
            }
            if (wavelength > originalContext / lowFrequencyFactor) {
                return frequency / factor;
            }
            double blend =
                    (originalContext / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
            return (1 - blend) * frequency / factor + blend * frequency;
        }
    }
}
