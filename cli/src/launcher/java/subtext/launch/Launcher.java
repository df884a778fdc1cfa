package subtext.launch;

import java.io.File;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.net.URISyntaxException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/**
 * The main class of engine.jar, compiled for Java 17, because {@code java -jar engine.jar} is often typed on machines whose default Java
 * is older than the Java 22 that the program needs. On 22 or newer it calls the program; on older ones it looks for a newer Java in the
 * usual places, runs the jar there and returns its exit code, and where there is none it says in one line what to install.
 */
public final class Launcher {
    private static final int REQUIRED = 22;
    private static final String MAIN = "subtext.cli.Main";
    private static final int EXIT_USAGE = 2;

    private Launcher() {}

    public static void main(String[] arguments) throws Throwable {
        if (Runtime.version().feature() >= REQUIRED) {
            try {
                Class.forName(MAIN).getMethod("main", String[].class).invoke(null, (Object) arguments);
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
            return;
        }
        Path home = newest();
        if (home == null) {
            System.err.println("subtext: this is Java " + Runtime.version().feature() + ", and no Java " + REQUIRED
                    + " or newer was found: install one (Debian 13, Ubuntu 25.10 or newer: apt-get install openjdk-25-jdk-headless;"
                    + " elsewhere Eclipse Temurin) or set SUBTEXT_JAVA_HOME to it");
            System.exit(EXIT_USAGE);
        }
        System.exit(run(home, arguments));
    }

    /** The Java in the usual places: one named by a variable, else the newest installed; null if there is none. */
    private static Path newest() {
        for (String variable : new String[] {"SUBTEXT_JAVA_HOME", "JAVA_HOME"}) {
            String named = System.getenv(variable);
            if (named != null && !named.isEmpty() && feature(Path.of(named)) >= REQUIRED) {
                return Path.of(named);
            }
        }
        Path user = Path.of(System.getProperty("user.home"));
        Path own = Path.of(System.getProperty("java.home"));
        List<Path> folders = new ArrayList<>();
        if (own.getParent() != null) {
            folders.add(own.getParent());
        }
        folders.add(Path.of("/usr/lib/jvm"));
        folders.add(Path.of("/usr/java"));
        folders.add(Path.of("/opt"));
        folders.add(Path.of("/opt/java"));
        folders.add(user.resolve(".sdkman/candidates/java"));
        folders.add(user.resolve(".jdks"));
        Path best = null;
        int bestFeature = REQUIRED - 1;
        for (Path folder : folders) {
            if (!Files.isDirectory(folder)) {
                continue;
            }
            try (DirectoryStream<Path> homes = Files.newDirectoryStream(folder)) {
                for (Path home : homes) {
                    int feature = feature(home);
                    if (feature > bestFeature) {
                        best = home;
                        bestFeature = feature;
                    }
                }
            } catch (IOException e) {
                // a folder that cannot be listed holds no Java for us
                continue;
            }
        }
        return best;
    }

    /** The feature version that the {@code release} file of a Java states; 0 if it is none. */
    private static int feature(Path home) {
        Path release = home.resolve("release");
        if (!Files.isExecutable(home.resolve("bin/java")) || !Files.isReadable(release)) {
            return 0;
        }
        try {
            for (String line : Files.readAllLines(release)) {
                if (line.startsWith("JAVA_VERSION=\"")) {
                    String digits = line.substring("JAVA_VERSION=\"".length()).replaceAll("[^0-9].*", "");
                    return digits.isEmpty() ? 0 : Integer.parseInt(digits);
                }
            }
            return 0;
        } catch (IOException e) {
            return 0;
        }
    }

    private static int run(Path home, String[] arguments) throws IOException, InterruptedException, URISyntaxException {
        Path jar = Path.of(Launcher.class
                .getProtectionDomain()
                .getCodeSource()
                .getLocation()
                .toURI());
        List<String> command = new ArrayList<>();
        command.add(home.resolve("bin" + File.separator + "java").toString());
        command.add("-jar");
        command.add(jar.toString());
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).inheritIO().start();
        // Ctrl-C reaches both; SIGTERM is meant for the other one, which saves, and whose exit code is the answer
        try {
            Signal.handle(new Signal("INT"), SignalHandler.SIG_IGN);
            Signal.handle(new Signal("TERM"), signal -> process.destroy());
        } catch (IllegalArgumentException e) {
            // this Java was started with -Xrs: a signal to it alone must not leave the other one running
            Runtime.getRuntime().addShutdownHook(new Thread(process::destroy));
        }
        return process.waitFor();
    }
}
