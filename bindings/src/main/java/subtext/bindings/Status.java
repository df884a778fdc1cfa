package subtext.bindings;

import subtext.bindings.ffi.SubtextH;

/** The status codes of {@code subtext.h}. */
public enum Status {
    OK(SubtextH.ST_OK),
    INVALID_ARGUMENT(SubtextH.ST_INVALID_ARGUMENT),
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
