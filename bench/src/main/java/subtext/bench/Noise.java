package subtext.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * How quiet the machine was while something was measured: processor time that went to others, as processors on average, from
 * {@code /proc/stat}; and the load average of the last minute.
 */
final class Noise {
    private static final double TICKS = 100; // of /proc, a second
    private final double busy = busy();
    private final double own = own();
    private final long from = System.nanoTime();

    /** Processors that others kept busy since this was made, peers' processes not counted. */
    double others() {
        double seconds = (System.nanoTime() - from) * 1e-9;
        return Math.max(0, (busy() - busy - (own() - own)) / seconds);
    }

    /** For people. */
    String describe() {
        return String.format(
                Locale.ROOT,
                "others kept %.2f of %d processors busy meanwhile; load average %s",
                others(),
                Runtime.getRuntime().availableProcessors(),
                load());
    }

    static String load() {
        return lines("/proc/loadavg").split(" ")[0];
    }

    private static double busy() {
        String[] fields = lines("/proc/stat").split("\n")[0].trim().split("\\s+");
        // user nice system idle iowait irq softirq steal
        double sum = 0;
        for (int i : new int[] {1, 2, 3, 6, 7, 8}) {
            sum += Double.parseDouble(fields[i]);
        }
        return sum / TICKS;
    }

    /** Of this process and of its children, living and gone. */
    private static double own() {
        double sum = ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                        .getProcessCpuTime()
                * 1e-9;
        String self = lines("/proc/self/stat");
        String[] fields = self.substring(self.lastIndexOf(')') + 2).split(" ");
        sum += (Double.parseDouble(fields[13]) + Double.parseDouble(fields[14])) / TICKS; // children waited for
        for (ProcessHandle child : ProcessHandle.current().children().toList()) {
            try {
                String stat = Files.readString(Path.of("/proc/" + child.pid() + "/stat"));
                String[] of = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
                sum += (Double.parseDouble(of[11]) + Double.parseDouble(of[12])) / TICKS;
            } catch (IOException e) {
                // it has just ended, and counts among those waited for next time
            }
        }
        return sum;
    }

    static String lines(String file) {
        try {
            return Files.readString(Path.of(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** {@code model name} of the first processor. */
    static String processor() {
        return Files.exists(Path.of("/proc/cpuinfo"))
                ? lines("/proc/cpuinfo")
                        .lines()
                        .filter(line -> line.startsWith("model name"))
                        .findFirst()
                        .map(line -> line.substring(line.indexOf(':') + 2))
                        .orElse("unknown")
                : "unknown";
    }

    /** Gigabytes of memory. */
    static double memory() {
        return Double.parseDouble(
                        lines("/proc/meminfo").lines().findFirst().orElse("0 0").split("\\s+")[1])
                / 1e6;
    }
}
