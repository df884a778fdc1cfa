package subtext.experiment;

import java.util.LinkedHashMap;
import java.util.Map;
import subtext.run.RunConfig;

/**
 * One run of an experiment, for all seeds: what it changes and what it is there to tell.
 *
 * @param name unique; also the name of its folder
 * @param question what it rules out or measures, in a few words
 * @param settings dotted keys and values over the settings that all arms share
 */
public record Arm(String name, String question, Map<String, String> settings) {
    /** Copies the settings, in their order. */
    public Arm {
        settings = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(settings));
    }

    /** An arm that changes these keys, each followed by its value. */
    static Arm of(String name, String question, String... settings) {
        Map<String, String> map = new LinkedHashMap<>();
        for (int i = 0; i < settings.length; i += 2) {
            map.put(settings[i], settings[i + 1]);
        }
        return new Arm(name, question, map);
    }

    /**
     * {@return the settings of the arm over those that all share}
     *
     * @param shared settings of the experiment, unchanged
     * @throws subtext.bindings.EngineException.InvalidConfig naming a key that is not there
     */
    public RunConfig over(RunConfig shared) {
        RunConfig config = shared;
        for (Map.Entry<String, String> setting : settings.entrySet()) {
            config = config.with(setting.getKey(), setting.getValue());
        }
        return config;
    }
}
