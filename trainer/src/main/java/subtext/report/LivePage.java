package subtext.report;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import subtext.bindings.EngineException;

/**
 * Serves a run's page on this machine's loopback address while the run goes on. The page asks for its own body every few seconds and
 * shows it when it changed; what a reader has opened or scrolled stays. Reads the folder, writes nothing.
 */
public final class LivePage implements AutoCloseable {
    private static final int REFRESH_MILLIS = 2000;
    private static final String SCRIPT = """
            <script>
            let last = null;
            async function refresh() {
              try {
                const answer = await fetch('body');
                if (!answer.ok) return;
                const body = (await answer.json()).body;
                const page = document.getElementById('page');
                if (body !== last) { // the first answer too: the run may have gone on since the page was made
                  const open = [...page.querySelectorAll('details')].map(d => d.open);
                  page.innerHTML = body;
                  page.querySelectorAll('details').forEach((d, i) => { if (i < open.length) d.open = open[i]; });
                }
                last = body;
                page.dataset.looks = Number(page.dataset.looks || 0) + 1;
              } catch (e) { /* the server is gone: the page stays as it is */ }
            }
            setInterval(refresh, %d);
            </script>
            """.formatted(REFRESH_MILLIS);

    private final Path run;
    private final HttpServer server;
    private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

    /**
     * Begins to serve.
     *
     * @param run its folder; read anew for every answer
     * @param port 1 to 65535, or 0 for any that is free
     * @throws EngineException.InvalidInput if the folder holds no run
     * @throws IOException if the port is taken or the folder cannot be read
     */
    public LivePage(Path run, int port) throws IOException {
        this.run = run;
        RunView.read(run); // a folder without a run is refused here and not in a browser
        this.server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.setExecutor(threads);
        server.createContext("/", this::answer);
        server.start();
    }

    /** {@return where the page is, as a URL with the port that was found} */
    public String address() {
        return "http://localhost:" + server.getAddress().getPort() + "/";
    }

    private void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            String path = exchange.getRequestURI().getPath();
            // a page of another site must not read this one through a name that points here
            String host = exchange.getRequestHeaders().getFirst("Host");
            if (host == null || !host.replaceFirst(":\\d+$", "").matches("localhost|127\\.0\\.0\\.1|\\[::1]")) {
                send(exchange, 403, "text/plain", "served to localhost only");
            } else if (!exchange.getRequestMethod().equals("GET")) {
                send(exchange, 405, "text/plain", "GET only");
            } else if (path.equals("/")) {
                send(exchange, 200, "text/html; charset=utf-8", HtmlReport.page(RunView.read(run), SCRIPT));
            } else if (path.equals("/body")) {
                send(exchange, 200, "application/json", HtmlReport.json(HtmlReport.body(RunView.read(run))));
            } else {
                send(exchange, 404, "text/plain", "not here");
            }
        } catch (EngineException | IOException e) {
            // a stage that is being written, or a reader that left: the next look sees it whole
            System.getLogger(LivePage.class.getName()).log(System.Logger.Level.DEBUG, "not answered", e);
        }
    }

    private static void send(HttpExchange exchange, int status, String type, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.getResponseHeaders().set("Cache-Control", "no-store");
        exchange.getResponseHeaders().set("X-Content-Type-Options", "nosniff");
        exchange.sendResponseHeaders(status, bytes.length);
        try (OutputStream body = exchange.getResponseBody()) {
            body.write(bytes);
        }
    }

    /** Stops serving. */
    @Override
    public void close() {
        server.stop(0);
        threads.close();
    }
}
