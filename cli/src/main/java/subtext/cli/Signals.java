package subtext.cli;

import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import subtext.run.StopSignal;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/**
 * Turns the first Ctrl-C or SIGTERM into the wish to save and stop, and the second into the end: the process exits at once with 128 and the
 * number of the signal, as it would without this class.
 */
final class Signals implements AutoCloseable {
    private final Map<Signal, SignalHandler> before = new LinkedHashMap<>();
    private final StopSignal stop;
    private final PrintWriter err;

    private Signals(StopSignal stop, PrintWriter err) {
        this.stop = stop;
        this.err = err;
    }

    /** Listens until closed. Where the JVM keeps its signals to itself (-Xrs) they act as they always do. */
    static Signals into(StopSignal stop, PrintWriter err) {
        Signals signals = new Signals(stop, err);
        for (String name : new String[] {"INT", "TERM"}) {
            try {
                Signal signal = new Signal(name);
                signals.before.put(signal, Signal.handle(signal, signals::arrived));
            } catch (IllegalArgumentException e) {
                continue; // the JVM was started with -Xrs: that signal ends the process
            }
        }
        return signals;
    }

    private void arrived(Signal signal) {
        if (!stop.request("SIG" + signal.getName())) {
            Runtime.getRuntime().halt(128 + signal.getNumber());
        }
        err.println("subtext: SIG" + signal.getName()
                + ": stopping after the piece of work at hand; once more stops at once and loses it");
        err.flush();
    }

    @Override
    public void close() {
        before.forEach(Signal::handle);
    }
}
