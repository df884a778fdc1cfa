package subtext.model;

/** How the rotary frequencies of a model are stretched for contexts longer than it was first trained on. */
public sealed interface RopeScaling {
    /**
     * Stretches one frequency.
     *
     * @param frequency of a pair, radians per position, unscaled
     * @return what the model turns by instead, radians per position
     */
    double scale(double frequency);

    /** No stretching. */
    record None() implements RopeScaling {
        @Override
        public double scale(double frequency) {
            return frequency;
        }
    }

    /**
     * Every frequency divided by the factor. Chen et al. 2023.
     *
     * @param factor how many times longer the context becomes, above 0
     */
    record Linear(double factor) implements RopeScaling {
        @Override
        public double scale(double frequency) {
            return frequency / factor;
        }
    }

    /**
     * Llama 3: long wavelengths divided by the factor, short ones kept, a linear blend between.
     *
     * @param factor how many times longer the longest wavelengths become, above 0
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
