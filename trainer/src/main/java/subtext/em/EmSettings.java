package subtext.em;

import java.nio.file.Path;
import subtext.run.RunConfig;

/**
 * What {@link EmRun#start} needs.
 *
 * @param run folder of the run
 * @param resume go on with an existing run, whose configuration must be the same; false: an existing run is refused
 * @param dryRun check everything and say what would be done, without training
 * @param config the resolved configuration
 */
public record EmSettings(Path run, boolean resume, boolean dryRun, RunConfig config) {}
