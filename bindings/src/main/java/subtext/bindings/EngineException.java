package subtext.bindings;

/**
 * What can go wrong in the engine for reasons outside the code: one clear line that names the thing and the cure. Mistakes of a caller
 * are {@link IllegalArgumentException}, {@link IllegalStateException} (closed) and {@link WrongThreadException} instead.
 */
public abstract sealed class EngineException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private EngineException(String message, Throwable cause) {
        super(message, cause);
    }

    /** A native operation failed. The message holds the operation, the status and the device's own text. */
    public static final class NativeCall extends EngineException {
        private static final long serialVersionUID = 1L;
        /** C name of the function that failed. */
        private final String operation;
        /** What it returned. */
        private final Status status;

        /**
         * A failed call.
         *
         * @param operation C name of the function
         * @param status what it returned, not {@link Status#OK}
         * @param text the device's own words, which may be empty
         */
        public NativeCall(String operation, Status status, String text) {
            super(operation + ": " + status + (text.isEmpty() ? "" : ", " + text) + hint(status), null);
            this.operation = operation;
            this.status = status;
        }

        private static String hint(Status status) {
            return status == Status.DEVICE_ERROR ? "; set SUBTEXT_SYNC=1 to see which kernel it was" : "";
        }

        /** {@return the operation, by its C name} */
        public String operation() {
            return operation;
        }

        /** {@return what the operation returned, never {@link Status#OK}} */
        public Status status() {
            return status;
        }
    }

    /** No library or no device of a backend. The message lists what was tried and what cures it. */
    public static final class BackendUnavailable extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message one line: what was tried and what cures it
         */
        public BackendUnavailable(String message) {
            super(message, null);
        }

        /**
         * With the whole message and its cause.
         *
         * @param message one line: what was tried and what cures it
         * @param cause what the loader or the system said
         */
        public BackendUnavailable(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** A slab does not fit. The message says how much was wanted, how much is free and what the slab was to hold. */
    public static final class OutOfDeviceMemory extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message how much was wanted, how much is free, and for what
         */
        public OutOfDeviceMemory(String message) {
            super(message, null);
        }
    }

    /** A file of ours or of a model is damaged. The message holds its path, and where known the offset and the expected digest. */
    public static final class CorruptFile extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message one line that begins with the path of the file
         */
        public CorruptFile(String message) {
            super(message, null);
        }

        /**
         * With the whole message and its cause.
         *
         * @param message one line that begins with the path of the file
         * @param cause what reading met
         */
        public CorruptFile(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** A plan or configuration that cannot be. The message holds the field, its value and what is allowed. */
    public static final class InvalidConfig extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message one line: the field, its value and what is allowed
         */
        public InvalidConfig(String message) {
            super(message, null);
        }

        /**
         * With the whole message and its cause.
         *
         * @param message one line: the field, its value and what is allowed
         * @param cause what parsing met
         */
        public InvalidConfig(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /**
     * A number is not finite where it must be: training diverged, or memory is damaged. The message holds the step or the thought, the tensor
     * where it was met first, and the last good checkpoint.
     */
    public static final class NonFinite extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message where the number was met first, and the last good checkpoint
         */
        public NonFinite(String message) {
            super(message, null);
        }
    }

    /**
     * Sampler and scorer disagree about the same tokens on a device whose log-probabilities are said to be exact. The message holds the
     * difference and where it was met.
     */
    public static final class Inexact extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message the difference, where it was met, and what to do
         */
        public Inexact(String message) {
            super(message, null);
        }
    }

    /** Input from a person or a file that cannot be used. The message holds the path, the line where known, and what was expected. */
    public static final class InvalidInput extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message one line: the path or flag, and what was expected
         */
        public InvalidInput(String message) {
            super(message, null);
        }

        /**
         * With the whole message and its cause.
         *
         * @param message one line: the path or flag, and what was expected
         * @param cause what reading or parsing met
         */
        public InvalidInput(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** A run was asked to stop and did, with everything saved. The message holds who asked, where it stands and how to go on. */
    public static final class Stopped extends EngineException {
        private static final long serialVersionUID = 1L;

        /**
         * With the whole message.
         *
         * @param message who asked, where the run stands and how to go on
         */
        public Stopped(String message) {
            super(message, null);
        }
    }
}
