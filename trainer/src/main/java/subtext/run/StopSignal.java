package subtext.run;

import java.util.Optional;
import subtext.bindings.EngineException;

/**
 * The wish that a run stop at the next point where it can be taken up again: set by any thread, looked at by the run's own between steps,
 * between parts and between stages. It is not an interrupt, because those close the files that are being written.
 */
public final class StopSignal {
    private volatile String cause;

    /** A signal that nobody has given yet. */
    public StopSignal() {}

    /**
     * Asks to stop. The first cause stays; later ones change nothing.
     *
     * @param why fits behind "stopped by"
     * @return whether nobody had asked before
     */
    public synchronized boolean request(String why) {
        if (cause != null) {
            return false;
        }
        cause = why;
        return true;
    }

    /** {@return why to stop, if it was asked for} */
    public Optional<String> requested() {
        return Optional.ofNullable(cause);
    }

    /**
     * Stops here, if it was asked for.
     *
     * @param where what is done and safe on disk, to fit behind the cause
     * @throws EngineException.Stopped naming cause and place
     */
    public void check(String where) {
        String why = cause;
        if (why != null) {
            throw new EngineException.Stopped("stopped by " + why + " " + where + "; go on with --resume");
        }
    }
}
