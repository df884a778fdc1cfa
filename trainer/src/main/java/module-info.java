/** Data, training, expectation-maximisation, measurement and run directories. */
module subtext.trainer {
    requires transitive subtext.engine;
    requires com.github.luben.zstd_jni;
    requires dev.hardwood.core;
    requires tools.jackson.databind;
    requires jdk.httpserver; // the live page

    exports subtext.data;
    exports subtext.em;
    exports subtext.evaluate;
    exports subtext.experiment;
    exports subtext.report;
    exports subtext.run;
    exports subtext.train;
    exports subtext.world;

    // records are read and written by Jackson
    opens subtext.em to
            tools.jackson.databind;
    opens subtext.evaluate to
            tools.jackson.databind;
    opens subtext.run to
            tools.jackson.databind;
    opens subtext.train to
            tools.jackson.databind;
    opens subtext.data to
            tools.jackson.databind;
}
