package subtext.run;

import java.util.Map;
import java.util.TreeMap;

/**
 * What a run is begun with, and has to go on with.
 *
 * @param command that began it, such as {@code em} or {@code train --on text}
 * @param config its settings; those of the device and the bounds of warnings may change
 * @param inputs SHA-256 of what it reads from outside, by the setting that names it
 */
public record Beginning(String command, RunConfig config, Map<String, String> inputs) {
    /** Copies the digests, in the order of their names. */
    public Beginning {
        inputs = java.util.Collections.unmodifiableMap(new TreeMap<>(inputs));
    }
}
