package subtext.run;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import subtext.bindings.Device;
import subtext.bindings.Matmul;

/** What computed a run: code, Java, machine, device and its library. For people; nothing reads it back. */
public final class Provenance {
    private Provenance() {}

    /**
     * {@return the facts by name, to be stored as JSON}
     *
     * @param device that computes the run; also asked whose matrix products it uses
     */
    public static Map<String, Object> of(Device device) {
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("started", Instant.now().toString());
        String version = Provenance.class.getPackage().getImplementationVersion();
        facts.put("version", version == null ? "unpackaged" : version);
        facts.put("commit", commit());
        facts.put("java", System.getProperty("java.vm.name") + " " + Runtime.version());
        facts.put(
                "system",
                System.getProperty("os.name") + " " + System.getProperty("os.version") + " "
                        + System.getProperty("os.arch"));
        facts.put("device", device.info().toString());
        facts.put("library", device.libraryPath().toString());
        facts.put("librarySha256", device.libraryDigest());
        facts.put("products", products(device));
        facts.put("exactLogProbabilities", device.exact());
        return facts;
    }

    /** Whose matrix products computed it. */
    private static String products(Device device) {
        return device.vendorMatmul()
                .map(vendor -> (device.exact() ? "own forward, backward by " : "forward and backward by ") + vendor)
                .orElse(device.matmul() == Matmul.AMX ? "own, by the processor's matrix unit" : "own");
    }

    /**
     * {@return a warning where log-probabilities of sampler, scorer and trainer agree up to rounding only, else empty} Weights p / q then
     * carry that error. For the record of a run.
     *
     * @param device asked whether its log-probabilities are exact
     */
    public static Optional<String> inexact(Device device) {
        return device.exact()
                ? Optional.empty()
                : Optional.of("log-probabilities are not exact: --matmul vendor, products " + products(device));
    }

    /** The commit of the source tree that the code lies in, or {@code unknown} where it lies in none. */
    private static String commit() {
        try {
            Path code = Path.of(Provenance.class
                    .getProtectionDomain()
                    .getCodeSource()
                    .getLocation()
                    .toURI());
            Process git = new ProcessBuilder("git", "describe", "--always", "--dirty", "--abbrev=40")
                    .directory((Files.isDirectory(code) ? code : code.getParent()).toFile())
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            String out = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return git.waitFor(5, TimeUnit.SECONDS) && git.exitValue() == 0 && !out.isEmpty() ? out : "unknown";
        } catch (IOException | java.net.URISyntaxException e) {
            return "unknown"; // no git, or no source tree: not a reason to stop
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "unknown";
        }
    }
}
