package subtext.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import subtext.bindings.EngineException;
import subtext.em.EmSettings;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;

/**
 * The configuration of a run and its folder. Values are taken from the preset, from {@code --config} over it, from {@code --set} over that,
 * and from the options that have a name of their own over all.
 */
final class RunFlags {
    private static final Path RUNS = Path.of("runs");

    @Option(
            names = "--preset",
            paramLabel = "NAME",
            description =
                    "Settings to start from: chain (the default), chain-text, smoke, gsm8k, gsm8k-small, tinyllama-finemath, smollm2-135m.")
    String preset;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description = "Settings in YAML or JSON over the preset; unknown keys are refused.")
    Path config;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "One setting over the file, by dotted key, such as training.steps=500. May be given often.")
    List<String> set = List.of();

    @Option(
            names = "--seeds",
            split = ",",
            paramLabel = "S",
            description = "One whole run of the method per seed, such as 0,1,2.")
    List<Long> seeds;

    @Option(
            names = "--corpus",
            paramLabel = "PATH",
            description =
                    "Text to learn from in place of the embedded world: a file (JSON lines, parquet or plain text; .gz and .zst are"
                            + " unpacked), a folder of such files, a glob, or a folder that prepare made.")
    String corpus;

    @Option(
            names = "--from",
            paramLabel = "MODEL",
            description = "Folder of a model to start from instead of from scratch, in Hugging Face layout.")
    Path from;

    @Option(
            names = "--bad-records",
            paramLabel = "stop|skip",
            description = "What to do with a record that cannot be read. Default: stop.")
    BadRecords badRecords;

    @Option(
            names = "--run",
            paramLabel = "DIR",
            description = "Folder of the run. Default: the next free runs/NAME-NUMBER.")
    Path run;

    @Option(
            names = "--resume",
            description =
                    "Go on with an existing run: the one named by --run, else the latest under runs/. Its settings are the run's own.")
    boolean resume;

    @Option(names = "--dry-run", description = "Check everything and say what would be done, without training.")
    boolean dryRun;

    @Mixin
    DeviceFlags device;

    /** What {@code --bad-records} may be. */
    enum BadRecords {
        STOP,
        SKIP
    }

    /** The settings of a run with this kind of name; {@code more} are key and value pairs that the command's own options add. */
    EmSettings settings(String kind, List<String> more) throws IOException {
        Path folder = folder(kind);
        RunConfig resolved = base(folder);
        if (config != null) {
            resolved = resolved.over(ConfigFile.read(config), config + ": ");
        }
        for (String setting : set) {
            resolved = apply(resolved, setting);
        }
        List<String> named = new ArrayList<>(more);
        add(named, "seeds", seeds == null ? null : seeds.toString());
        add(named, "corpus.path", corpus);
        add(named, "model.from", from);
        add(
                named,
                "corpus.badRecords",
                badRecords == null ? null : badRecords.name().toLowerCase(Locale.ROOT));
        add(named, "device.backend", device.device == null ? null : DeviceFlags.configured(device.device));
        add(named, "device.threads", device.threads);
        add(
                named,
                "device.matmul",
                device.matmul == null ? null : device.matmul.name().toLowerCase(Locale.ROOT));
        for (int i = 0; i < named.size(); i += 2) {
            resolved = resolved.with(named.get(i), named.get(i + 1));
        }
        return new EmSettings(folder, resume, dryRun, resolved);
    }

    /** One {@code --set} over a configuration. */
    static RunConfig apply(RunConfig config, String setting) {
        int equals = setting.indexOf('=');
        if (equals <= 0) {
            throw new EngineException.InvalidConfig("--set: expected KEY=VALUE, got '" + setting + "'");
        }
        return config.with(
                setting.substring(0, equals).strip(),
                setting.substring(equals + 1).strip());
    }

    /** Adds a key and its value, if the option was given. */
    static void add(List<String> pairs, String key, Object value) {
        if (value != null) {
            pairs.add(key);
            pairs.add(value.toString());
        }
    }

    /** What the file and the options change: the preset, or, when a run is resumed, the settings it was started with. */
    private RunConfig base(Path folder) {
        if (!resume) {
            return RunConfig.preset(preset == null ? "chain" : preset);
        }
        if (preset != null) {
            throw new EngineException.InvalidConfig(
                    "--preset: a resumed run has its own settings; leave the preset out");
        }
        return RunDirectory.storedConfig(folder);
    }

    private Path folder(String kind) throws IOException {
        if (run != null) {
            return run;
        }
        String name = kind + (preset == null ? "" : "-" + preset);
        if (!resume) {
            int number = 1;
            while (Files.exists(RUNS.resolve(name + "-" + number))) {
                number++;
            }
            return RUNS.resolve(name + "-" + number);
        }
        if (Files.isDirectory(RUNS)) {
            try (Stream<Path> runs = Files.list(RUNS)) {
                Optional<Path> latest = runs.filter(
                                path -> path.getFileName().toString().startsWith(kind + "-"))
                        .filter(path -> Files.exists(path.resolve("run.json")))
                        .max(Comparator.comparing(
                                path -> path.resolve("run.json").toFile().lastModified()));
                if (latest.isPresent()) {
                    return latest.get();
                }
            }
        }
        throw new EngineException.InvalidConfig(
                "--resume: there is no run under " + RUNS.toAbsolutePath() + "; name its folder by --run");
    }
}
