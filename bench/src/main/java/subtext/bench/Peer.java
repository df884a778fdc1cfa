package subtext.bench;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * A peer in a process of its own, which stays and works on demand, so that rounds can alternate without loading it anew: it prints a line
 * when it is ready, and answers every line {@code step} with one line of JSON.
 */
final class Peer implements AutoCloseable {
    private final String name;
    private final Process process;
    private final BufferedReader in;
    private final BufferedWriter out;
    private final Path log;

    private Peer(String name, Process process, Path log) {
        this.name = name;
        this.process = process;
        this.log = log;
        this.in = process.inputReader();
        this.out = process.outputWriter();
    }

    /** Starts it and waits until it is ready. */
    static Peer start(String name, List<String> command, Map<String, String> environment) {
        try {
            Path log = Files.createTempFile("peer", ".log");
            ProcessBuilder builder = new ProcessBuilder(command).redirectError(log.toFile());
            builder.environment()
                    .keySet()
                    .removeAll(List.of("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"));
            builder.environment().putAll(environment);
            Peer peer = new Peer(name, builder.start(), log);
            peer.line();
            return peer;
        } catch (IOException e) {
            throw new UncheckedIOException(name, e);
        }
    }

    /** Lets it do one step, and then waits until its idle threads have stopped spinning: 0.2 s with Intel's OpenMP. */
    String step() {
        try {
            out.write("step\n");
            out.flush();
            String answer = line();
            Thread.sleep(250);
            return answer;
        } catch (IOException e) {
            throw new UncheckedIOException(name, e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(name, e);
        }
    }

    private String line() throws IOException {
        String line = in.readLine();
        if (line == null) {
            String said = Files.readString(log);
            throw new IllegalStateException(name + " ended: "
                    + said.substring(Math.max(0, said.length() - 800)).strip());
        }
        return line;
    }

    @Override
    public void close() {
        try {
            out.close();
            if (!process.waitFor(5, TimeUnit.SECONDS)) {
                process.destroy();
                process.waitFor();
            }
            Files.deleteIfExists(log);
        } catch (IOException e) {
            process.destroy();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
