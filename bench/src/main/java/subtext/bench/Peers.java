package subtext.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Enumeration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/** Where the peers of {@code bench/peers} are, if they are: nothing here installs anything. */
final class Peers {
    private final Path root;

    /** @param root of the repository */
    Peers(Path root) {
        this.root = root;
    }

    /** Folder of the jars that {@code bench/peers/pom.xml} fetches. */
    Path jars() {
        return root.resolve("bench/peers/target/jars");
    }

    /** How to get the jars. */
    static final String FETCH = "not installed: ./mvnw -f bench/peers/pom.xml package fetches it";

    /** The jars whose names begin so. */
    List<Path> jars(String... prefixes) {
        if (!Files.isDirectory(jars())) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(jars())) {
            return files.filter(file -> Stream.of(prefixes)
                            .anyMatch(prefix -> file.getFileName().toString().startsWith(prefix)))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * Unpacks the shared libraries of a jar, once.
     *
     * @param library the one wanted
     * @return its path, empty if the jar is not there
     */
    Optional<Path> library(String prefix, String library) {
        Path folder = jars().resolveSibling("lib").resolve(prefix);
        Path wanted = folder.resolve(library);
        if (Files.exists(wanted)) {
            return Optional.of(wanted);
        }
        for (Path jar : jars(prefix)) {
            try (ZipFile zip = new ZipFile(jar.toFile())) {
                Files.createDirectories(folder);
                for (Enumeration<? extends ZipEntry> entries = zip.entries(); entries.hasMoreElements(); ) {
                    ZipEntry entry = entries.nextElement();
                    String file = entry.getName().substring(entry.getName().lastIndexOf('/') + 1);
                    if (file.contains(".so") && !file.startsWith("libjni")) {
                        try (InputStream in = zip.getInputStream(entry)) {
                            Files.copy(in, folder.resolve(file), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
                        }
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(jar.toString(), e);
            }
        }
        return Files.exists(wanted) ? Optional.of(wanted) : Optional.empty();
    }

    /** Debian's Python with torch, or the one that SUBTEXT_PYTHON names. */
    Optional<String> python() {
        String python = System.getenv().getOrDefault("SUBTEXT_PYTHON", "/usr/bin/python3");
        try {
            Process process = new ProcessBuilder(python, "-c", "import torch")
                    .redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .start();
            return process.waitFor() == 0 ? Optional.of(python) : Optional.empty();
        } catch (IOException e) {
            return Optional.empty();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return Optional.empty();
        }
    }

    /** jemalloc, the tuned allocator, where Debian puts it. */
    Optional<Path> jemalloc() {
        return Optional.of(Path.of("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"))
                .filter(Files::exists);
    }

    Path script(String name) {
        return root.resolve("bench/peers").resolve(name);
    }

    Path root() {
        return root;
    }
}
