package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import subtext.bindings.Backend;
import subtext.bindings.Device;
import subtext.bindings.DeviceInfo;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.bindings.Matmul;
import subtext.engine.SelfTest;
import tools.jackson.databind.json.JsonMapper;

/** What was found on this machine, what will be used and why, and whether it computes right. */
@Command(
        name = "doctor",
        description =
                "Says what was found on this machine, which library and instruction set will be used, why CUDA was or was not taken,"
                        + " and whether the kernels compute right.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {"  subtext doctor", "  subtext doctor --device cpu --json"})
final class DoctorCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Mixin
    DeviceFlags deviceFlags;

    @Option(names = "--json", description = "Print one JSON object instead.")
    boolean json;

    /** One backend: either opened and tested, or the reason why not. */
    private record Finding(
            Backend backend,
            String reason,
            DeviceInfo info,
            String library,
            String digest,
            Optional<String> limits,
            List<SelfTest.Check> checks) {
        boolean works() {
            return reason == null && checks.stream().allMatch(SelfTest.Check::passed);
        }
    }

    @Override
    public Integer call() throws IOException {
        deviceFlags.options(); // what cannot be is refused before anything is looked at
        List<Finding> findings = new ArrayList<>();
        for (Backend backend : asked()) {
            findings.add(examine(backend));
        }
        Backend chosen = findings.stream()
                .filter(Finding::works)
                .map(Finding::backend)
                .filter(backend -> deviceFlags.device != DeviceFlags.Choice.CPU || backend == Backend.CPU)
                .reduce((first, second) -> second)
                .orElse(null);
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.println(JsonMapper.shared().writeValueAsString(tree(findings, chosen)));
        } else {
            print(out, findings, chosen);
        }
        // CUDA may be absent; what was asked for by name must be there and right
        boolean fine = findings.stream()
                .allMatch(finding -> finding.works()
                        || finding.backend() == Backend.CUDA
                                && finding.reason() != null
                                && deviceFlags.device != DeviceFlags.Choice.CUDA);
        return fine ? ExitCode.OK.code() : ExitCode.RESOURCES.code();
    }

    private List<Backend> asked() {
        return switch (deviceFlags.device) {
            case CPU -> List.of(Backend.CPU);
            case CUDA -> List.of(Backend.CUDA);
            case AUTO -> List.of(Backend.CPU, Backend.CUDA);
            case null -> List.of(Backend.CPU, Backend.CUDA);
        };
    }

    private Finding examine(Backend backend) {
        try (Device device = Device.open(backend, deviceFlags.options())) {
            return new Finding(
                    backend,
                    null,
                    device.info(),
                    device.libraryPath().toString(),
                    device.libraryDigest(),
                    device.limits(),
                    SelfTest.run(device));
        } catch (EngineException e) {
            return new Finding(backend, ExitCode.line(e), null, null, null, Optional.empty(), List.of());
        }
    }

    private static void print(PrintWriter out, List<Finding> findings, Backend chosen) throws IOException {
        Runtime runtime = Runtime.getRuntime();
        out.println("subtext  " + Version.number());
        out.printf("java     %s, %s%n", System.getProperty("java.vm.version"), System.getProperty("java.home"));
        out.printf(
                "machine  %s %s, %d cores, Java may use %.1f GiB%n",
                System.getProperty("os.name"),
                System.getProperty("os.arch"),
                runtime.availableProcessors(),
                runtime.maxMemory() / 0x1p30);
        for (Finding finding : findings) {
            String name = "%-8s ".formatted(finding.backend().name().toLowerCase(java.util.Locale.ROOT));
            if (finding.reason() != null) {
                out.println(name + "not available: " + finding.reason());
                continue;
            }
            DeviceInfo info = finding.info();
            out.printf(
                    "%s%s, path %s, %d %s, %.1f of %.1f GiB free%n",
                    name,
                    info.name(),
                    info.path(),
                    info.processors(),
                    finding.backend() == Backend.CPU ? "threads" : "multiprocessors",
                    info.freeBytes() / 0x1p30,
                    info.totalBytes() / 0x1p30);
            out.printf(
                    "         %s%n         SHA-256 %s, built with %s%n",
                    finding.library(), finding.digest(), info.build());
            finding.limits().ifPresent(limits -> out.println("         limited: " + limits));
            if (info.computeCapability() > 0) {
                out.printf(
                        "         compute capability %.1f, driver %s for CUDA %d.%d, runtime %d.%d%n",
                        info.computeCapability() / 10.0,
                        driver(),
                        info.driverVersion() / 1000,
                        info.driverVersion() % 1000 / 10,
                        info.runtimeVersion() / 1000,
                        info.runtimeVersion() % 1000 / 10);
            }
            for (SelfTest.Check check : finding.checks()) {
                out.printf("         %s %s: %s%n", check.passed() ? "ok    " : "FAILED", check.name(), check.detail());
            }
        }
        if (findings.stream().anyMatch(finding -> finding.backend() == Backend.CPU)) {
            out.println("amx      " + matrixUnit());
        }
        if (findings.stream().anyMatch(finding -> finding.backend() == Backend.CUDA)) {
            out.println("cublaslt " + Device.vendorMatmulSearch());
        }
        out.println("used by default: "
                + (chosen == null ? "nothing works" : chosen.name().toLowerCase(java.util.Locale.ROOT)));
    }

    /** Whether the processor's matrix unit is there, and computes right. */
    private static String matrixUnit() {
        try (Device device = Device.open(Backend.CPU, DeviceOptions.defaults().withMatmul(Matmul.AMX))) {
            return SelfTest.run(device).stream()
                    .filter(check -> !check.passed())
                    .findFirst()
                    .map(check -> "FAILED " + check.name() + ": " + check.detail())
                    .orElse("works: --matmul amx multiplies by the processor's matrix unit, with bits of its own");
        } catch (EngineException.BackendUnavailable e) {
            return "not available: " + e.getMessage();
        }
    }

    /** The release of NVIDIA's kernel module, such as 580.95.05; "none" without one. */
    private static String driver() {
        try {
            Matcher release = Pattern.compile("\\b\\d{3,}\\.\\d+(\\.\\d+)?\\b")
                    .matcher(Files.readString(Path.of("/proc/driver/nvidia/version")));
            return release.find() ? release.group() : "unknown";
        } catch (IOException absent) {
            return "none";
        }
    }

    private static Map<String, Object> tree(List<Finding> findings, Backend chosen) throws IOException {
        Map<String, Object> root = new LinkedHashMap<>();
        root.put("version", Version.number());
        root.put("java", System.getProperty("java.vm.version"));
        root.put("javaHome", System.getProperty("java.home"));
        root.put("cores", Runtime.getRuntime().availableProcessors());
        root.put("driver", driver());
        root.put("amx", matrixUnit());
        root.put("cublaslt", Device.vendorMatmulSearch());
        root.put("chosen", chosen == null ? null : chosen.name().toLowerCase(java.util.Locale.ROOT));
        List<Object> backends = new ArrayList<>();
        for (Finding finding : findings) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("backend", finding.backend().name().toLowerCase(java.util.Locale.ROOT));
            one.put("available", finding.reason() == null);
            one.put("reason", finding.reason());
            one.put("library", finding.library());
            one.put("sha256", finding.digest());
            one.put("device", finding.info());
            one.put("limits", finding.limits().orElse(null));
            one.put("checks", finding.checks());
            backends.add(one);
        }
        root.put("backends", backends);
        return root;
    }
}
