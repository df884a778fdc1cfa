package subtext.run;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.Digest;

/**
 * A file that says a folder is finished and what is in it: one line {@code sha256  name} per file, in the order of the names, written
 * last. Readable by {@code sha256sum --check}. There is one way to write it, so that a byte changed in the manifest itself is found too:
 * a name cut off its end is a file that is there and not listed.
 */
public final class Manifest {
    private static final Pattern LINE = Pattern.compile("([0-9a-f]{64}) {2}([^\\x00-\\x1f]+)");

    private Manifest() {}

    /**
     * Writes {@code folder/name} over the given entries of the folder: files, or folders with all files under them, temporary ones left
     * out.
     *
     * @param folder what the names are relative to
     * @param name of the manifest, replaced by one rename if it is there
     * @param entries relative to {@code folder}; one that does not exist is left out
     * @throws IOException if a file cannot be read or the manifest cannot be written
     */
    public static void write(Path folder, String name, String... entries) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (String file : files(folder, entries)) {
            lines.append(Digest.of(folder.resolve(file)))
                    .append("  ")
                    .append(file)
                    .append('\n');
        }
        AtomicFiles.write(folder.resolve(name), lines.toString());
    }

    /**
     * Puts the digest of one file, as it is now, in the place of the listed one.
     *
     * @throws EngineException.CorruptFile if the manifest is damaged
     */
    static void update(Path folder, String name, String file) throws IOException {
        SortedMap<String, String> digests = read(folder.resolve(name));
        digests.put(file, Digest.of(folder.resolve(file)));
        StringBuilder lines = new StringBuilder();
        digests.forEach((listed, digest) ->
                lines.append(digest).append("  ").append(listed).append('\n'));
        AtomicFiles.write(folder.resolve(name), lines.toString());
    }

    /** The files of some entries by their names relative to the folder. */
    private static SortedSet<String> files(Path folder, String... entries) throws IOException {
        SortedSet<String> files = new TreeSet<>();
        for (String entry : entries) {
            Path path = folder.resolve(entry);
            if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
                continue;
            }
            try (Stream<Path> under = Files.walk(path)) {
                under.filter(Files::isRegularFile)
                        .filter(file -> !file.toString().endsWith(AtomicFiles.TEMPORARY))
                        .forEach(file -> files.add(folder.relativize(file).toString()));
            }
        }
        return files;
    }

    /** Digests by file name; what is not a manifest to the letter is refused. */
    private static SortedMap<String, String> read(Path file) throws IOException {
        String text;
        try {
            text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(Files.readAllBytes(file)))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new EngineException.CorruptFile(file + ": not text in UTF-8", e);
        }
        SortedMap<String, String> digests = new TreeMap<>();
        for (String line : text.split("\n", -1)) {
            Matcher matcher = LINE.matcher(line);
            boolean last = line.isEmpty() && !digests.isEmpty();
            if (last) {
                continue; // behind the last line break; more of them are found by the length below
            }
            if (!matcher.matches()
                    || !digests.isEmpty() && digests.lastKey().compareTo(matcher.group(2)) >= 0
                    || escapes(matcher.group(2))) {
                throw new EngineException.CorruptFile(file
                        + ": expected lines of digest and name in the order of the names, got '" + shown(line) + "'");
            }
            digests.put(matcher.group(2), matcher.group(1));
        }
        int length = digests.keySet().stream()
                .mapToInt(key -> 67 + key.getBytes(StandardCharsets.UTF_8).length)
                .sum();
        if (digests.isEmpty() || length != text.getBytes(StandardCharsets.UTF_8).length) {
            throw new EngineException.CorruptFile(file + ": cut off, or empty lines in it");
        }
        return digests;
    }

    private static String shown(String line) {
        String start = line.length() > 80 ? line.substring(0, 80) + "..." : line;
        return start.replaceAll("\\p{Cntrl}", "?");
    }

    private static boolean escapes(String name) {
        Path path = Path.of(name);
        return path.isAbsolute() || !path.normalize().equals(path) || path.startsWith("..");
    }

    /**
     * Checks every file of a manifest.
     *
     * @param folder what the names are relative to
     * @param name of the manifest in it
     * @param entries what the manifest is written over: everything under them must be listed
     * @return how many files were checked, the manifest included
     * @throws EngineException.CorruptFile naming the first file that is missing, damaged or not listed
     * @throws IOException if the manifest cannot be read or a folder cannot be listed
     */
    public static int verify(Path folder, String name, String... entries) throws IOException {
        List<String> problems = new ArrayList<>();
        int files = check(folder, name, problems, entries);
        if (!problems.isEmpty()) {
            throw new EngineException.CorruptFile(problems.getFirst());
        }
        return files;
    }

    /**
     * As {@link #verify}, but collects what is wrong.
     *
     * @param folder what the names are relative to
     * @param name of the manifest in it
     * @param problems a line is added for each file that is missing, damaged or not listed
     * @param entries what the manifest is written over: everything under them must be listed
     * @return how many files were checked, the manifest included; 0 if there is no manifest, 1 if it is damaged
     * @throws IOException if the manifest cannot be read or a folder cannot be listed
     */
    public static int check(Path folder, String name, List<String> problems, String... entries) throws IOException {
        Path manifest = folder.resolve(name);
        if (!Files.exists(manifest)) {
            problems.add(folder + ": no " + name + ", it was never finished");
            return 0;
        }
        SortedMap<String, String> digests;
        try {
            digests = read(manifest);
        } catch (EngineException.CorruptFile e) {
            problems.add(e.getMessage());
            return 1;
        }
        digests.forEach((file, digest) -> {
            String found;
            try {
                found = Files.exists(folder.resolve(file)) ? Digest.of(folder.resolve(file)) : "missing";
            } catch (IOException e) {
                found = "unreadable";
            }
            if (!found.equals(digest)) {
                problems.add(folder.resolve(file) + ": SHA-256 is " + found + ", " + name + " says " + digest);
            }
        });
        for (String file : files(folder, entries)) {
            if (!digests.containsKey(file)) {
                problems.add(manifest + ": does not list " + file);
            }
        }
        return digests.size() + 1;
    }
}
