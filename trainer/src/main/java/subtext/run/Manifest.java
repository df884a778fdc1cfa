package subtext.run;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.Digest;

/**
 * A file that says a folder is finished and what is in it: one line {@code sha256  name} per file, in the order of the names, written
 * last. Readable by {@code sha256sum --check}.
 */
public final class Manifest {
    private Manifest() {}

    /** Writes {@code folder/name} over the given files, whose paths are relative to the folder. */
    public static void write(Path folder, String name, String... files) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (String file : Stream.of(files).sorted().toList()) {
            lines.append(Digest.of(folder.resolve(file)))
                    .append("  ")
                    .append(file)
                    .append('\n');
        }
        AtomicFiles.write(folder.resolve(name), lines.toString());
    }

    /** Writes {@code folder/name} over all files under the given entries of the folder, temporary ones left out. */
    public static void writeAll(Path folder, String name, String... entries) throws IOException {
        TreeMap<String, Boolean> files = new TreeMap<>();
        for (String entry : entries) {
            try (Stream<Path> under = Files.walk(folder.resolve(entry))) {
                under.filter(Files::isRegularFile)
                        .filter(file -> !file.toString().endsWith(AtomicFiles.TEMPORARY))
                        .forEach(file -> files.put(folder.relativize(file).toString(), true));
            }
        }
        write(folder, name, files.keySet().toArray(String[]::new));
    }

    /** Digests by file name. */
    public static Map<String, String> read(Path folder, String name) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        for (String line : Files.readAllLines(folder.resolve(name))) {
            String[] parts = line.split(" {2}", 2);
            if (parts.length != 2) {
                throw new EngineException.CorruptFile(
                        folder.resolve(name) + ": expected lines of digest and name, got '" + line + "'");
            }
            digests.put(parts[1], parts[0]);
        }
        return digests;
    }

    /**
     * Checks every file of a manifest.
     *
     * @return how many files were checked
     * @throws EngineException.CorruptFile naming the first file that is missing or damaged
     */
    public static int verify(Path folder, String name) throws IOException {
        if (!Files.exists(folder.resolve(name))) {
            throw new EngineException.CorruptFile(folder + ": no " + name + ", it was never finished");
        }
        Map<String, String> digests = read(folder, name);
        for (Map.Entry<String, String> entry : digests.entrySet()) {
            Path file = folder.resolve(entry.getKey());
            String found = Files.exists(file) ? Digest.of(file) : "missing";
            if (!found.equals(entry.getValue())) {
                throw new EngineException.CorruptFile(
                        file + ": SHA-256 is " + found + ", " + name + " says " + entry.getValue());
            }
        }
        return digests.size();
    }
}
