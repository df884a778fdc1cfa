package subtext.bindings.ffi;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringWriter;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.PaddingLayout;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Field;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;

/**
 * Generates the binding of cuBLASLt with the real jextract and holds {@link CublasLtH} to it: every constant, every prototype, every struct.
 * {@code ./mvnw -Pjextract -pl bindings -am verify} runs it. What is generated is compiled and asked, not read: jextract's text changes from
 * release to release, its accessors do not. Its classes look their functions up when they are loaded, so a library that has them is
 * loaded first; any will do, as nothing is called.
 */
public final class JextractComparison {
    private static final String PACKAGE = "subtext.generated";

    private JextractComparison() {}

    /**
     * Exit status 0 if nothing differs, or if there is nothing to compare with, which it says in one line; 1 with a line for each difference.
     *
     * @param arguments jextract's program (a path, or a name to look for on the PATH), NVIDIA's {@code cublasLt.h}, a library with the
     *     functions, an empty folder to work in
     */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        if (arguments.length != 4) {
            System.err.println("usage: JextractComparison JEXTRACT HEADER LIBRARY FOLDER");
            System.exit(2);
        }
        System.exit(
                compare(arguments[0], Path.of(arguments[1]), Path.of(arguments[2]), Path.of(arguments[3]), System.out));
    }

    static int compare(String program, Path header, Path library, Path folder, PrintStream out)
            throws IOException, InterruptedException {
        Optional<Path> tool = find(program);
        if (tool.isEmpty()) {
            out.println("jextract: no program '" + program
                    + "' (install it, or name it by -Dsubtext.jextract=FILE): cuBLASLt's binding was not compared");
            return 0;
        }
        for (Path needed : List.of(header, library)) {
            if (!Files.isRegularFile(needed)) {
                out.println("jextract: no file " + needed
                        + (needed.equals(header) ? " (-Dsubtext.cublaslt.header=FILE)" : "")
                        + ": cuBLASLt's binding was not compared");
                return 0;
            }
        }
        Path sources = Files.createDirectories(folder.resolve("sources"));
        StringWriter errors = new StringWriter();
        if (generate(tool.get(), header, sources, errors) != 0) {
            out.println("jextract: " + tool.get() + " failed on " + header + ": "
                    + errors.toString().strip());
            return 1;
        }
        Path classes = Files.createDirectories(folder.resolve("classes"));
        compile(sources, classes);
        try (URLClassLoader loader =
                new URLClassLoader(new URL[] {classes.toUri().toURL()})) {
            // a copy: the JVM opens one file for one loader only
            Path copy = Files.copy(library, folder.resolve("functions.so"), StandardCopyOption.REPLACE_EXISTING);
            List<String> differences = differences(loader, copy);
            differences.forEach(line -> out.println("jextract: " + line));
            if (differences.isEmpty()) {
                out.printf(
                        "jextract: cuBLASLt's binding agrees with %s: %d functions, %d constants, %d structs%n",
                        header,
                        CublasLtH.FUNCTIONS.size(),
                        constants().size(),
                        structs().size());
            }
            return differences.isEmpty() ? 0 : 1;
        } catch (ReflectiveOperationException e) {
            out.println("jextract: what it generated has another shape than expected: "
                    + (e.getCause() == null ? e : e.getCause()));
            return 1;
        }
    }

    private static Optional<Path> find(String program) {
        if (program.contains("/")) {
            return Optional.of(Path.of(program)).filter(Files::isExecutable);
        }
        return Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
                .filter(place -> !place.isEmpty())
                .map(place -> Path.of(place, program))
                .filter(Files::isExecutable)
                .findFirst();
    }

    private static int generate(Path tool, Path header, Path sources, StringWriter errors)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                tool.toString(),
                "--output",
                sources.toString(),
                "--target-package",
                PACKAGE,
                "--header-class-name",
                "Generated"));
        command.addAll(
                List.of("--include-dir", header.toAbsolutePath().getParent().toString()));
        CublasLtH.FUNCTIONS.keySet().forEach(name -> command.addAll(List.of("--include-function", name)));
        constants().forEach(field -> command.addAll(List.of("--include-constant", field.getName())));
        for (Field struct : structs()) {
            // NVIDIA's structs are typedefs of unnamed ones
            command.addAll(List.of("--include-struct", struct.getName(), "--include-typedef", struct.getName()));
        }
        command.add(header.toString());
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        errors.write(new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        return process.waitFor();
    }

    private static void compile(Path sources, Path classes) throws IOException {
        // a library's functions are found by the classes of the loader that loaded it
        Path own = Files.createDirectories(sources.resolve(PACKAGE.replace('.', '/')))
                .resolve("Loader.java");
        Files.writeString(
                own,
                "package " + PACKAGE
                        + "; public final class Loader { public static void load(String file) { System.load(file); } }");
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        List<String> arguments = new ArrayList<>(List.of("-nowarn", "-proc:none", "-d", classes.toString()));
        try (Stream<Path> files = Files.walk(sources)) {
            files.map(Path::toString).filter(file -> file.endsWith(".java")).forEach(arguments::add);
        }
        ByteArrayOutputStream errors = new ByteArrayOutputStream();
        if (compiler.run(null, errors, errors, arguments.toArray(String[]::new)) != 0) {
            throw new IOException("what jextract generated does not compile: " + errors);
        }
    }

    private static List<String> differences(ClassLoader loader, Path library) throws ReflectiveOperationException {
        loader.loadClass(PACKAGE + ".Loader")
                .getMethod("load", String.class)
                .invoke(null, library.toAbsolutePath().toString());
        Class<?> generated = loader.loadClass(PACKAGE + ".Generated");
        List<String> lines = new ArrayList<>();
        for (Field constant : constants()) {
            Object theirs = generated.getMethod(constant.getName()).invoke(null);
            differ(lines, constant.getName(), constant.get(null), theirs);
        }
        for (String name : CublasLtH.FUNCTIONS.keySet()) {
            FunctionDescriptor theirs = (FunctionDescriptor)
                    generated.getMethod(name + "$descriptor").invoke(null);
            differ(lines, name, prototype(CublasLtH.FUNCTIONS.get(name)), prototype(theirs));
        }
        for (Field struct : structs()) {
            MemoryLayout theirs = (MemoryLayout) loader.loadClass(PACKAGE + "." + struct.getName())
                    .getMethod("layout")
                    .invoke(null);
            differ(lines, struct.getName(), shape((MemoryLayout) struct.get(null)), shape(theirs));
        }
        return lines;
    }

    private static void differ(List<String> lines, String name, Object ours, Object theirs) {
        if (!ours.equals(theirs)) {
            lines.add(name + ": " + ours + " in CublasLtH, " + theirs + " by jextract");
        }
    }

    private static List<Field> constants() {
        return Stream.of(CublasLtH.class.getFields())
                .filter(field -> field.getType() == int.class)
                .toList();
    }

    private static List<Field> structs() {
        return Stream.of(CublasLtH.class.getFields())
                .filter(field -> field.getType() == StructLayout.class)
                .toList();
    }

    private static String prototype(FunctionDescriptor descriptor) {
        return descriptor.returnLayout().map(JextractComparison::shape).orElse("void")
                + descriptor.argumentLayouts().stream()
                        .map(JextractComparison::shape)
                        .collect(Collectors.joining(", ", " (", ")"));
    }

    /** A layout in words: kinds, sizes, order and members' names, without names of types and what pointers point to. */
    private static String shape(MemoryLayout layout) {
        return switch (layout) {
            case AddressLayout pointer -> "pointer";
            case ValueLayout value -> value.carrier().getName();
            case PaddingLayout padding -> padding.byteSize() + " unused bytes";
            case SequenceLayout sequence -> sequence.elementCount() + " x " + shape(sequence.elementLayout());
            case GroupLayout group ->
                group.memberLayouts().stream()
                        .map(member -> shape(member) + " " + member.name().orElse(""))
                        .collect(Collectors.joining("; ", group instanceof StructLayout ? "{" : "union {", "}"));
        };
    }
}
