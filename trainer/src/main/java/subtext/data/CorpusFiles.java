package subtext.data;

import java.io.IOException;
import java.nio.file.FileSystemLoopException;
import java.nio.file.FileSystems;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.function.Predicate;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Stream;
import subtext.bindings.EngineException;

/**
 * The files that a path stands for: a file, all corpus files under a folder, or those that match a glob such as {@code data/**&#47;*.jsonl.zst}.
 * In the order of their names, whatever the file system's own, so the same files are always the same corpus.
 */
final class CorpusFiles {
    private static final List<String> TEXTS = List.of(".jsonl", ".ndjson", ".json", ".txt", ".text");
    private static final List<String> PACKED = List.of(".gz", ".zst", ".zstd");

    private CorpusFiles() {}

    /**
     * @return at least one file
     * @throws EngineException.InvalidInput if there is none
     */
    static List<Path> of(String path) {
        try {
            boolean there;
            try {
                there = Files.exists(Path.of(path));
            } catch (InvalidPathException e) {
                throw new EngineException.InvalidInput("corpus: not a path: " + path + " (" + e.getReason() + ")", e);
            }
            if (!there) {
                if (path.chars().anyMatch(c -> "*?[{".indexOf(c) >= 0)) {
                    return glob(path);
                }
                throw new EngineException.InvalidInput("corpus: no file " + path);
            }
            Path file = Path.of(path);
            if (Files.isDirectory(file)) {
                List<Path> found = under(file, Integer.MAX_VALUE, inside -> true);
                if (found.isEmpty()) {
                    throw new EngineException.InvalidInput("corpus: the folder " + path
                            + " holds no file whose name ends in " + String.join(", ", TEXTS)
                            + " or .parquet, or one of these and " + String.join(", ", PACKED));
                }
                return found;
            }
            if (!Files.isRegularFile(file)) {
                throw new EngineException.InvalidInput("corpus: " + path + " is neither a file nor a folder");
            }
            return List.of(file);
        } catch (FileSystemLoopException e) {
            throw new EngineException.InvalidInput(
                    "corpus: the link " + e.getFile() + " leads back to a folder that it lies in: remove it", e);
        } catch (IOException e) {
            throw new EngineException.InvalidInput("corpus: cannot read " + path + " (" + e.getMessage() + ")", e);
        }
    }

    private static List<Path> glob(String pattern) throws IOException {
        // the folders before the first name with a special character are taken as they are
        int special = 0;
        while ("*?[{".indexOf(pattern.charAt(special)) < 0) {
            special++;
        }
        int slash = pattern.lastIndexOf('/', special);
        Path from = Path.of(slash < 0 ? "." : slash == 0 ? "/" : pattern.substring(0, slash));
        // what no file of the pattern lies in is not walked through
        int depth = pattern.contains("**")
                ? Integer.MAX_VALUE
                : 1
                        + (int) pattern.substring(slash + 1)
                                .chars()
                                .filter(c -> c == '/')
                                .count();
        PathMatcher matcher;
        try {
            matcher = FileSystems.getDefault().getPathMatcher("glob:" + pattern.substring(slash + 1));
        } catch (PatternSyntaxException e) {
            throw new EngineException.InvalidInput(
                    "corpus: not a glob: " + pattern + " (" + e.getDescription() + ")", e);
        }
        List<Path> found = Files.isDirectory(from)
                ? under(from, depth, file -> matcher.matches(from.relativize(file)))
                : List.of();
        if (found.isEmpty()) {
            throw new EngineException.InvalidInput("corpus: no corpus file matches " + pattern);
        }
        return found;
    }

    private static List<Path> under(Path folder, int depth, Predicate<Path> wanted) throws IOException {
        try (Stream<Path> all = Files.walk(folder, depth, FileVisitOption.FOLLOW_LINKS)) {
            return all.filter(Files::isRegularFile)
                    .filter(file -> !hidden(folder.relativize(file)))
                    .filter(file -> isCorpus(file.getFileName().toString()))
                    .filter(wanted)
                    .map(folder::relativize)
                    .sorted(Comparator.comparing(CorpusFiles::name))
                    .map(file -> folder.equals(Path.of(".")) ? file : folder.resolve(file))
                    .toList();
        } catch (java.io.UncheckedIOException e) {
            throw e.getCause();
        }
    }

    /** Names that begin with a dot or an underscore are the business of other programs. */
    private static boolean hidden(Path path) {
        for (Path name : path) {
            if (name.toString().startsWith(".") || name.toString().startsWith("_")) {
                return true;
            }
        }
        return false;
    }

    private static String name(Path path) {
        return path.toString().replace('\\', '/');
    }

    private static boolean isCorpus(String name) {
        String inner = inner(name);
        return inner.endsWith(".parquet") || TEXTS.stream().anyMatch(inner::endsWith);
    }

    /** The name in lower case without the end that says how it is packed. */
    static String inner(String name) {
        String lower = name.toLowerCase(Locale.ROOT);
        for (String end : PACKED) {
            if (lower.endsWith(end)) {
                return lower.substring(0, lower.length() - end.length());
            }
        }
        return lower;
    }
}
