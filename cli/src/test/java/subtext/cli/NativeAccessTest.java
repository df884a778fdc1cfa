package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the JDK's own tools say of the compiled modules: restricted calls in the bindings alone, and no JDK internals anywhere. */
class NativeAccessTest {
    @Test
    void restrictedCallsAreInTheBindingsAlone() {
        String said = run("jnativescan", "--release", "24", "--class-path", String.join(File.pathSeparator, classes()));
        List<String> users = said.lines()
                .map(String::strip)
                .filter(line -> line.startsWith("subtext."))
                .toList();
        assertThat(users).as(said).isNotEmpty().allMatch(line -> line.startsWith("subtext.bindings."));
    }

    @Test
    void noJdkInternalsAreUsed(@TempDir Path folder) throws IOException {
        for (String from : classes()) { // without module-info, which would ask for every library as a module
            try (Stream<Path> files = Files.walk(Path.of(from))) {
                for (Path file : files.filter(f -> f.toString().endsWith(".class"))
                        .filter(f -> !f.endsWith("module-info.class"))
                        .toList()) {
                    Path to = folder.resolve(Path.of(from).relativize(file));
                    Files.createDirectories(to.getParent());
                    Files.copy(file, to);
                }
            }
        }
        // but for signals, which have no other API: JEP 260 keeps sun.misc.Signal open until there is one
        assertThat(run("jdeps", "--jdk-internals", "--ignore-missing-deps", folder.toString())
                        .lines()
                        .filter(line -> line.contains("JDK internal API ("))
                        .map(line -> line.strip().split("\\s+")))
                .allSatisfy(use -> assertThat(use[2]).isIn("sun.misc.Signal", "sun.misc.SignalHandler"))
                .allSatisfy(use -> assertThat(use[0]).isIn("subtext.cli.Signals", "subtext.launch.Launcher"));
    }

    /** The folders of our compiled modules on the class path. */
    private static List<String> classes() {
        List<String> classes = Stream.of("bindings", "engine", "trainer", "cli")
                .map(module -> Path.of(System.getProperty("subtext.root", ".."), module, "target", "classes"))
                .map(path -> path.toAbsolutePath().normalize().toString())
                .toList();
        assertThat(classes).allMatch(path -> new File(path).isDirectory());
        return classes;
    }

    private static String run(String tool, String... arguments) {
        Optional<ToolProvider> found = ToolProvider.findFirst(tool);
        Assumptions.assumeTrue(found.isPresent(), "this JDK has no " + tool + ": skipped");
        StringWriter said = new StringWriter();
        PrintWriter to = new PrintWriter(said, true);
        int code = found.get().run(to, to, arguments);
        assertThat(code).as(said.toString()).isZero();
        return said.toString();
    }
}
