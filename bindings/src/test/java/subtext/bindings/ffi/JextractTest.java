package subtext.bindings.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The comparison of cuBLASLt's binding with jextract's, by a program in jextract's place that writes what jextract 22 writes for
 * {@code cublasLt.h} of CUDA 13: right, it agrees; with one thing changed, that thing is named.
 */
class JextractTest {
    private static final Path LIBRARY =
            Path.of(System.getProperty("subtext.root", ".."), "native/target/build/libcublasLt_emulated.so");

    @TempDir
    Path folder;

    @BeforeEach
    void needs() {
        Assumptions.assumeTrue(Files.isRegularFile(LIBRARY), "the emulator was not built");
        Assumptions.assumeTrue(javax.tools.ToolProvider.getSystemJavaCompiler() != null, "needs a JDK");
    }

    private record Outcome(int status, String out) {}

    private Outcome compare(String program, Path header) throws IOException, InterruptedException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int status = JextractComparison.compare(
                program, header, LIBRARY, folder.resolve("work"), new PrintStream(out, true));
        return new Outcome(status, out.toString());
    }

    /** With a jextract that writes the sources as edited. */
    private Outcome generated(UnaryOperator<String> edit) throws IOException, InterruptedException {
        Path sources = Files.createDirectories(folder.resolve("prepared/subtext/generated"));
        String all = edit.apply(SOURCES);
        Matcher file = Pattern.compile("// file (\\S+)\\n(.*?)(?=// file|\\z)", Pattern.DOTALL)
                .matcher(all);
        while (file.find()) {
            Files.writeString(
                    sources.resolve(file.group(1) + ".java"), "package subtext.generated;\n" + IMPORTS + file.group(2));
        }
        Path tool = folder.resolve("jextract");
        Files.writeString(tool, """
                #!/bin/sh
                while [ $# -gt 1 ]; do
                    [ "$1" != --output ] || output=$2
                    shift
                done
                [ -r "$1" ] || { echo "$1: no such header" >&2; exit 1; }
                cp -r %s/. "$output"
                """.formatted(folder.resolve("prepared")));
        Files.setPosixFilePermissions(tool, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path header = Files.writeString(folder.resolve("cublasLt.h"), "/* NVIDIA's */\n");
        return compare(tool.toString(), header);
    }

    @Test
    void theBindingAgreesWithWhatJextractWrites() throws IOException, InterruptedException {
        Outcome outcome = generated(sources -> sources);
        assertThat(outcome.out())
                .hasLineCount(1)
                .contains("agrees with")
                .contains("13 functions, 8 constants, 2 structs");
        assertThat(outcome.status()).isZero();
    }

    @ParameterizedTest(name = "{2}")
    @CsvSource(
            delimiter = '|',
            value = {
                "CUDA_R_16BF = (int)14L | CUDA_R_16BF = (int)15L | CUDA_R_16BF: 14 in CublasLtH, 15 by jextract",
                "cublasLt_long, cublasLt_pointer) | cublasLt_int, cublasLt_pointer) | cublasLtMatmul: int (pointer, ",
                "of(cublasLt_long) | of(cublasLt_int) | cublasLtGetVersion: long () in CublasLtH, int () by jextract",
                "sequenceLayout(8, | sequenceLayout(16, | cublasLtMatmulAlgo_t: {8 x long data} in CublasLtH, {16 x long data} by jextract",
                "withName(\"state\") | withName(\"status\") | int state; float wavesCount"
            })
    void whatDiffersIsNamed(String from, String to, String line) throws IOException, InterruptedException {
        Outcome outcome = generated(sources -> {
            assertThat(sources).contains(from);
            return sources.replace(from, to);
        });
        assertThat(outcome.out()).contains(line);
        assertThat(outcome.status()).isEqualTo(1);
    }

    @Test
    void whatIsNotInstalledIsSaidInOneLine() throws IOException, InterruptedException {
        Outcome none = compare("jextract-that-nobody-has", folder.resolve("cublasLt.h"));
        assertThat(none.out()).hasLineCount(1).contains("no program 'jextract-that-nobody-has'", "was not compared");
        assertThat(none.status()).isZero();
        Outcome header = compare("/bin/true", folder.resolve("none/cublasLt.h"));
        assertThat(header.out()).hasLineCount(1).contains("no file").contains("none/cublasLt.h");
        assertThat(header.status()).isZero();
    }

    @Test
    void aFailureOfTheToolIsOne() throws IOException, InterruptedException {
        Outcome outcome = compare("/bin/false", Files.writeString(folder.resolve("cublasLt.h"), ""));
        assertThat(outcome.out()).hasLineCount(1).contains("/bin/false failed");
        assertThat(outcome.status()).isEqualTo(1);
    }

    private static final String IMPORTS = """
            import java.lang.foreign.*;
            import java.lang.invoke.*;
            import static subtext.generated.Generated$shared.*;
            """;

    private static String function(String name, String... returnedAndParameters) {
        return """
                    private static class %1$s {
                        public static final FunctionDescriptor DESC = FunctionDescriptor.of(%2$s);
                        public static final MemorySegment ADDR = findOrThrow("%1$s");
                        public static final MethodHandle HANDLE = Linker.nativeLinker().downcallHandle(ADDR, DESC);
                    }
                    public static FunctionDescriptor %1$s$descriptor() { return %1$s.DESC; }
                """.formatted(name, String.join(", ", returnedAndParameters));
    }

    private static String constant(String name, int value) {
        return """
                    private static final int %1$s = (int)%2$dL;
                    public static int %1$s() { return %1$s; }
                """.formatted(name, value);
    }

    private static final String P = "cublasLt_pointer";
    private static final String I = "cublasLt_int";
    private static final String L = "cublasLt_long";

    private static final String SOURCES = """
            // file Generated$shared
            public class Generated$shared {
                public static final ValueLayout.OfInt cublasLt_int = (ValueLayout.OfInt) Linker.nativeLinker().canonicalLayouts().get("int");
                public static final ValueLayout.OfLong cublasLt_long = (ValueLayout.OfLong) Linker.nativeLinker().canonicalLayouts().get("long");
                public static final ValueLayout.OfFloat cublasLt_float = (ValueLayout.OfFloat) Linker.nativeLinker().canonicalLayouts().get("float");
                public static final AddressLayout cublasLt_pointer = ((AddressLayout) Linker.nativeLinker().canonicalLayouts().get("void*"))
                        .withTargetLayout(MemoryLayout.sequenceLayout(Long.MAX_VALUE, ValueLayout.JAVA_BYTE));
                static final SymbolLookup SYMBOL_LOOKUP = SymbolLookup.loaderLookup().or(Linker.nativeLinker().defaultLookup());
                static MemorySegment findOrThrow(String symbol) {
                    return SYMBOL_LOOKUP.find(symbol).orElseThrow(() -> new UnsatisfiedLinkError("unresolved symbol: " + symbol));
                }
            }
            // file cublasLtMatmulAlgo_t
            public class cublasLtMatmulAlgo_t {
                private static final GroupLayout $LAYOUT = MemoryLayout.structLayout(
                    MemoryLayout.sequenceLayout(8, cublasLt_long).withName("data")
                ).withName("$anon$1");
                public static final GroupLayout layout() { return $LAYOUT; }
            }
            // file cublasLtMatmulHeuristicResult_t
            public class cublasLtMatmulHeuristicResult_t {
                private static final GroupLayout $LAYOUT = MemoryLayout.structLayout(
                    cublasLtMatmulAlgo_t.layout().withName("algo"),
                    cublasLt_long.withName("workspaceSize"),
                    cublasLt_int.withName("state"),
                    cublasLt_float.withName("wavesCount"),
                    MemoryLayout.sequenceLayout(4, cublasLt_int).withName("reserved")
                ).withName("$anon$2");
                public static final GroupLayout layout() { return $LAYOUT; }
            }
            // file Generated
            public class Generated extends Generated$shared {
            """
            + constant("CUDA_R_32F", 0)
            + constant("CUDA_R_16BF", 14)
            + constant("CUBLAS_COMPUTE_32F", 68)
            + constant("CUBLAS_OP_N", 0)
            + constant("CUBLAS_OP_T", 1)
            + constant("CUBLASLT_MATMUL_DESC_TRANSA", 3)
            + constant("CUBLASLT_MATMUL_DESC_TRANSB", 4)
            + constant("CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES", 1)
            + function("cublasLtGetVersion", L)
            + function("cublasLtCreate", I, P)
            + function("cublasLtDestroy", I, P)
            + function("cublasLtMatmulDescCreate", I, P, I, I)
            + function("cublasLtMatmulDescDestroy", I, P)
            + function("cublasLtMatmulDescSetAttribute", I, P, I, P, L)
            + function("cublasLtMatrixLayoutCreate", I, P, I, L, L, L)
            + function("cublasLtMatrixLayoutDestroy", I, P)
            + function("cublasLtMatmulPreferenceCreate", I, P)
            + function("cublasLtMatmulPreferenceDestroy", I, P)
            + function("cublasLtMatmulPreferenceSetAttribute", I, P, I, P, L)
            + function("cublasLtMatmulAlgoGetHeuristic", I, P, P, P, P, P, P, P, I, P, P)
            + function("cublasLtMatmul", I, P, P, P, P, P, P, P, P, P, P, P, P, P, P, L, P)
            + "}\n";
}
