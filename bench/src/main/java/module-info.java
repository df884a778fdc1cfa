/** Measurements: JMH benchmarks of kernels and of what is built on them, and comparisons with other engines. */
module subtext.bench {
    requires subtext.trainer;
    requires info.picocli;
    requires java.management;
    requires jdk.management;
    requires jmh.core;
    requires tools.jackson.databind;

    // JMH makes the states and picocli the commands
    opens subtext.bench;
}
