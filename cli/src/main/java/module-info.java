/** The command line. */
module subtext.cli {
    requires subtext.trainer;
    requires info.picocli;
    requires java.logging; // what libraries log is kept quiet
    requires jdk.unsupported; // sun.misc.Signal: nothing else tells the second Ctrl-C from the first
    requires org.snakeyaml.engine;
    requires tools.jackson.databind;

    // picocli makes the commands and fills their options
    opens subtext.cli to
            info.picocli;
}
