package subtext.bindings;

import subtext.bindings.ffi.SubtextH;

/** The status codes of {@code subtext.h}. */
public enum Status {
    /** Done, or on CUDA under way. */
    OK(SubtextH.ST_OK),
    /** A null, a size or a type that the function does not take: a mistake of the caller. */
    INVALID_ARGUMENT(SubtextH.ST_INVALID_ARGUMENT),
    /** The memory asked for is not there. */
    OUT_OF_MEMORY(SubtextH.ST_OUT_OF_MEMORY),
    /** This backend has no such path, for example F64 on CUDA. */
    UNSUPPORTED(SubtextH.ST_UNSUPPORTED),
    /** The driver or the runtime reported an error. */
    DEVICE_ERROR(SubtextH.ST_DEVICE_ERROR),
    /** No such device, no driver. */
    UNAVAILABLE(SubtextH.ST_UNAVAILABLE);

    private final int code;

    Status(int code) {
        this.code = code;
    }

    static Status of(int code) {
        for (Status status : values()) {
            if (status.code == code) {
                return status;
            }
        }
        throw new IllegalArgumentException("the library returned the unknown status " + code);
    }
}
