package subtext.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import subtext.bindings.EngineException;

/** The exit codes of the program, and which failure ends with which. They are part of its interface and are printed by {@code --help}. */
enum ExitCode {
    OK(0),
    /** A fault of ours, with a stack trace. */
    INTERNAL(1),
    /** Unknown option, impossible value, contradiction in the configuration. */
    USAGE(2),
    /** A file that is missing, empty, damaged or not what it should be. */
    BAD_INPUT(3),
    /** Not enough memory or disk, no such device, a device that failed. */
    RESOURCES(4),
    /** Training diverged, a number is not finite where it must be, or sampler and scorer disagree. */
    NUMERIC(5),
    /** {@code verify} found something wrong. */
    VERIFICATION(7),
    /** Asked to stop by a signal, with everything saved: {@code --resume} goes on. */
    RESUMABLE(75);

    /** Of a message, in characters. */
    private static final int LONGEST = 1000;

    private final int code;

    ExitCode(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }

    static ExitCode of(Throwable failure) {
        return switch (failure) {
            case EngineException engine -> of(engine);
            case OutOfMemoryError e -> RESOURCES;
            case UncheckedIOException e -> of(e.getCause());
            case NoSuchFileException e -> BAD_INPUT;
            case IOException e -> RESOURCES;
            case null, default -> INTERNAL;
        };
    }

    private static ExitCode of(EngineException failure) {
        return switch (failure) {
            case EngineException.InvalidConfig e -> USAGE;
            case EngineException.InvalidInput e -> BAD_INPUT;
            case EngineException.CorruptFile e -> BAD_INPUT;
            case EngineException.BackendUnavailable e -> RESOURCES;
            case EngineException.OutOfDeviceMemory e -> RESOURCES;
            case EngineException.NativeCall e -> RESOURCES;
            case EngineException.NonFinite e -> NUMERIC;
            case EngineException.Inexact e -> NUMERIC;
            case EngineException.Stopped e -> RESUMABLE;
        };
    }

    /** What to print for a failure of the world outside, in one line. */
    static String line(Throwable failure) {
        String line = switch (failure) {
            case NoSuchFileException e -> "no file " + e.getFile();
            case FileSystemException e -> e.getFile() + ": " + (e.getReason() == null ? kind(e) : e.getReason());
            case OutOfMemoryError e ->
                "out of memory: give Java more (SUBTEXT_JAVA_OPTS=-Xmx8g) or take a smaller batch or model";
            case UncheckedIOException e -> line(e.getCause());
            case null -> "unknown failure";
            default -> failure.getMessage() == null ? kind(failure) : failure.getMessage();
        };
        return shown(line);
    }

    /** A message on one line, whatever stood in the input that it speaks of: no control characters, and not endlessly long. */
    static String shown(String message) {
        String line = message.strip().replaceAll("\\s*\\R\\s*", "; ").replaceAll("[\\p{Cntrl}\\p{Cf}]", "?");
        return line.length() <= LONGEST
                ? line
                : line.substring(0, LONGEST / 2) + " ... " + line.substring(line.length() - LONGEST / 2);
    }

    private static String kind(Throwable failure) {
        return failure.getClass()
                .getSimpleName()
                .replaceAll("(Exception|Error)$", "")
                .replaceAll("(?<=[a-z])(?=[A-Z])", " ")
                .toLowerCase(java.util.Locale.ROOT);
    }
}
