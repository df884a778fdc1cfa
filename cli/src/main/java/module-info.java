/** The command line. */
module subtext.cli {
    requires subtext.trainer;
    requires info.picocli;
    requires org.snakeyaml.engine;
    requires tools.jackson.databind;

    // picocli makes the commands and fills their options
    opens subtext.cli to
            info.picocli;
}
