package subtext.em;

import java.nio.file.Path;
import subtext.run.RunConfig;
import subtext.run.StopSignal;

/**
 * What {@link EmRun#start} needs.
 *
 * @param run folder of the run
 * @param resume go on with an existing run, whose configuration must be the same; false: an existing run is refused
 * @param dryRun check everything and say what would be done, without training
 * @param config the resolved configuration
 * @param stop asks the run to save and stop
 */
public record EmSettings(Path run, boolean resume, boolean dryRun, RunConfig config, StopSignal stop) {
    /**
     * Settings of a run that nobody asks to stop.
     *
     * @param run folder of the run
     * @param resume go on with an existing run
     * @param dryRun check everything without training
     * @param config the resolved configuration
     */
    public EmSettings(Path run, boolean resume, boolean dryRun, RunConfig config) {
        this(run, resume, dryRun, config, new StopSignal());
    }
}
