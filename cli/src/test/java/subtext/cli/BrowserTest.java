package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.experiment.ChainExperiment;
import subtext.report.LivePage;
import subtext.run.RunConfig;
import subtext.run.StopSignal;

/**
 * A run's page in a real browser: nothing in the console, nothing fetched, plots drawn, no sideways scrolling on a phone. Skipped where there
 * is no Chromium ({@code apt-get install chromium}; {@code SUBTEXT_CHROMIUM} names another).
 */
class BrowserTest {
    private static final Pattern URL = Pattern.compile("\"url\":\"([^\"]+)\"");
    /** What Chromium asks its maker for at start, whatever the page; the page itself is free of addresses (HtmlReportTest). */
    private static final Pattern OWN = Pattern.compile("https?://[^/]*\\.(google|googleapis|gstatic|gvt1)\\.com[:/].*");

    private static final int LIGHT_SERIES = 0x0b5fa5;
    private static final int DARK_SERIES = 0x6bb3f0;

    @TempDir
    static Path folder;

    private static String browser;
    private static Path run;

    @BeforeAll
    static void aRun() {
        Optional<String> found = Stream.of(
                        System.getenv().getOrDefault("SUBTEXT_CHROMIUM", ""),
                        "/usr/bin/chromium",
                        "/usr/bin/chromium-browser")
                .filter(path -> !path.isEmpty() && Files.isExecutable(Path.of(path)))
                .findFirst();
        assumeTrue(found.isPresent(), "no Chromium here: apt-get install chromium");
        browser = found.get();
        run = folder.resolve("run");
        RunConfig config = RunConfig.preset("smoke")
                .with("device.backend", "cpu")
                .with("training.steps", "6")
                .with("baselines", "raw-token-match,warm-step-match");
        EmRun.start(new EmSettings(run, false, false, config), event -> {});
    }

    private record Seen(String output, List<String> urls) {}

    /** Loads a page and gives what the browser wrote and every address it asked for. */
    private static Seen load(String name, String url, String... more) throws IOException, InterruptedException {
        Path log = folder.resolve(name + ".net.json");
        Path output = folder.resolve(name + ".out");
        List<String> command = new ArrayList<>(List.of(
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--enable-logging=stderr",
                "--user-data-dir=" + folder.resolve(name + ".profile"),
                "--log-net-log=" + log));
        command.addAll(List.of(more));
        command.add(url);
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        assertThat(process.waitFor(120, TimeUnit.SECONDS)).as("%s", command).isTrue();
        List<String> urls = new ArrayList<>();
        Matcher matcher = URL.matcher(Files.exists(log) ? Files.readString(log) : "");
        while (matcher.find()) {
            if (!OWN.matcher(matcher.group(1)).matches()) {
                urls.add(matcher.group(1));
            }
        }
        return new Seen(Files.readString(output), urls);
    }

    private static void quiet(Seen seen, String from) {
        assertThat(seen.output()).doesNotContain("CONSOLE");
        assertThat(seen.urls()).allSatisfy(url -> assertThat(url).startsWith(from));
    }

    /** Pixels of the first series' colour: drawn lines and markers, not only elements in a tree. */
    private static int pixels(Path png, int colour) throws IOException {
        BufferedImage image = ImageIO.read(png.toFile());
        int count = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            for (int x = 0; x < image.getWidth(); x++) {
                count += (image.getRGB(x, y) & 0xffffff) == colour ? 1 : 0;
            }
        }
        return count;
    }

    @Test
    void theReportIsDrawnWithoutTheNetwork() throws Exception {
        String page = run.resolve("report.html").toUri().toString();
        Path light = folder.resolve("light.png");
        quiet(load("light", page, "--window-size=1280,2400", "--screenshot=" + light), "file:///");
        assertThat(pixels(light, LIGHT_SERIES)).isGreaterThan(500);
        assertThat(pixels(light, DARK_SERIES)).isZero();
        Path dark = folder.resolve("dark.png");
        quiet(
                load(
                        "dark",
                        page,
                        "--window-size=1280,2400",
                        "--blink-settings=preferredColorScheme=0",
                        "--screenshot=" + dark),
                "file:///");
        assertThat(pixels(dark, DARK_SERIES)).isGreaterThan(500);
    }

    /** The check itself: a page that complains and fetches is noticed. */
    @Test
    void aLoudPageIsNoticed() throws Exception {
        Path loud = Files.writeString(
                folder.resolve("loud.html"),
                "<!doctype html><body><script>console.error('x');</script><img src=\"http://localhost:9/y.png\">");
        Seen seen = load("loud", loud.toUri().toString(), "--dump-dom");
        assertThat(seen.output()).contains("CONSOLE");
        assertThat(seen.urls()).anyMatch(url -> url.startsWith("http://localhost:9/"));
    }

    @Test
    void onAPhoneThePageDoesNotScrollSideways() throws Exception {
        String probe = """
                <script>addEventListener('load', () => {
                  const shown = [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0);
                  const widths = shown.map(s => Math.round(s.getBoundingClientRect().width));
                  const letters = shown.flatMap(s => [...s.querySelectorAll('text')].map(t =>
                      parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width / s.viewBox.baseVal.width));
                  document.title = 'page ' + document.documentElement.scrollWidth + ' plots ' + widths.length + ' least ' + Math.min(...widths)
                      + ' letters ' + Math.min(...letters).toFixed(1);
                });</script></head>
                """;
        Path probed = Files.writeString(
                folder.resolve("probed.html"),
                Files.readString(run.resolve("report.html")).replace("</head>", probe));
        // a frame of 390 pixels: a headless window has a larger least width
        Path phone = Files.writeString(
                folder.resolve("phone.html"),
                "<!doctype html><body style=\"margin:0\"><iframe id=\"f\" width=\"390\" height=\"800\" style=\"border:0\" src=\"probed.html\"></iframe>"
                        + "<script>f.onload = () => setTimeout(() => document.title = f.contentDocument.title, 200)</script>");
        Seen seen = load(
                "phone",
                phone.toUri().toString(),
                "--allow-file-access-from-files",
                "--virtual-time-budget=4000",
                "--dump-dom");
        Matcher title = Pattern.compile("<title>page (\\d+) plots (\\d+) least (\\d+) letters ([\\d.]+)</title>")
                .matcher(seen.output());
        assertThat(title.find()).as("%s", seen.output()).isTrue();
        assertThat(Integer.parseInt(title.group(1))).isLessThanOrEqualTo(390);
        assertThat(Integer.parseInt(title.group(2))).isGreaterThanOrEqualTo(6);
        assertThat(Integer.parseInt(title.group(3))).isGreaterThan(250);
        assertThat(Double.parseDouble(title.group(4)))
                .as("height of the smallest letters of a plot, pixels")
                .isGreaterThan(9);
    }

    /** Several runs on one page, as {@code report} writes it. */
    @Test
    void theComparisonIsDrawnWithoutTheNetwork() throws Exception {
        Path other = folder.resolve("other");
        EmRun.start(
                new EmSettings(
                        other,
                        false,
                        false,
                        RunConfig.preset("smoke")
                                .with("device.backend", "cpu")
                                .with("training.steps", "6")
                                .with("em.samples", "2")
                                .with("baselines", "[]")),
                event -> {});
        Path page = folder.resolve("comparison.html");
        assertThat(Main.run(
                        new PrintWriter(new StringWriter()),
                        new PrintWriter(new StringWriter()),
                        "report",
                        run.toString(),
                        other.toString(),
                        "--output",
                        page.toString()))
                .isZero();
        Path png = folder.resolve("comparison.png");
        quiet(
                load("comparison", page.toUri().toString(), "--window-size=1280,1600", "--screenshot=" + png),
                "file:///");
        assertThat(pixels(png, LIGHT_SERIES)).isGreaterThan(200);
        assertThat(pixels(png, 0xb34700)).as("the second run's").isGreaterThan(200);
    }

    /** The arms of an experiment on one page, as {@code experiment} writes it, and an arm's own report behind it. */
    @Test
    void theExperimentIsDrawnWithoutTheNetwork() throws Exception {
        Path study = folder.resolve("study");
        new ChainExperiment(
                        study,
                        RunConfig.preset("smoke")
                                .with("device.backend", "cpu")
                                .with("seeds", "0,1")
                                .with("training.steps", "6")
                                .with("baselines", "[]"),
                        ChainExperiment.named(List.of("k4", "k1", "carry")))
                .run(1, new StopSignal(), (arm, event) -> {});
        Path page = study.resolve("comparison.html");
        for (boolean dark : new boolean[] {false, true}) {
            String name = "study-" + dark;
            Path png = folder.resolve(name + ".png");
            List<String> more = new ArrayList<>(List.of("--window-size=1280,2000", "--screenshot=" + png));
            if (dark) {
                more.add("--blink-settings=preferredColorScheme=0");
            }
            quiet(load(name, page.toUri().toString(), more.toArray(String[]::new)), "file:///");
            assertThat(pixels(png, dark ? DARK_SERIES : LIGHT_SERIES)).isGreaterThan(200);
        }
        quiet(load("study-arm", study.resolve("arms/carry/report.html").toUri().toString(), "--dump-dom"), "file:///");
    }

    @Test
    void theLivePageFollowsTheRun() throws Exception {
        Path metrics = run.resolve("metrics.jsonl");
        String told = Files.readString(metrics);
        try (LivePage live = new LivePage(run, 0)) {
            Seen seen = load("live", live.address(), "--virtual-time-budget=9000", "--dump-dom");
            quiet(seen, live.address());
            assertThat(seen.urls()).contains(live.address() + "body");
            // looked at least twice, and drew what it was given
            Matcher looks = Pattern.compile("data-looks=\"(\\d+)\"").matcher(seen.output());
            assertThat(looks.find()).isTrue();
            assertThat(Integer.parseInt(looks.group(1))).isGreaterThanOrEqualTo(2);
            assertThat(seen.output()).contains("<svg");
            Files.writeString(
                    metrics,
                    told + "{\"event\":\"run\",\"resumed\":true}\n"
                            + "{\"event\":\"stage\",\"seed\":0,\"stage\":\"a new stage\",\"done\":0,\"total\":3}\n");
            assertThat(get(live.address() + "body", "localhost").body()).contains("a new stage");
            // another site's name for this address is refused
            assertThat(get(live.address() + "body", "evil.example").statusCode())
                    .isEqualTo(403);
        } finally {
            Files.writeString(metrics, told);
        }
    }

    /** Asks by a socket: the client of the JDK lets nobody choose the Host header. */
    private static HttpAnswer get(String address, String host) throws IOException {
        URI uri = URI.create(address);
        try (Socket socket = new Socket("localhost", uri.getPort())) {
            socket.getOutputStream()
                    .write(("GET " + uri.getPath() + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
                            .getBytes(StandardCharsets.US_ASCII));
            String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return new HttpAnswer(Integer.parseInt(answer.split(" ")[1]), answer);
        }
    }

    private record HttpAnswer(int statusCode, String body) {}
}
