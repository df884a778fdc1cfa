package subtext.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import subtext.bindings.EngineException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A configuration file: YAML, or JSON, which is a part of it. Only maps, lists, texts, numbers and truth values; no tags, few aliases. */
final class ConfigFile {
    private static final int LARGEST = 1 << 20;

    private ConfigFile() {}

    /**
     * @return the content as a tree of JSON
     * @throws EngineException.InvalidConfig if it cannot be read, naming line and column
     */
    static JsonNode read(Path file) {
        String text;
        try {
            text = Files.readString(file);
        } catch (IOException e) {
            throw new EngineException.InvalidConfig("--config: " + ExitCode.line(e), e);
        }
        LoadSettings settings = LoadSettings.builder()
                .setLabel(file.toString())
                .setAllowDuplicateKeys(false)
                .setMaxAliasesForCollections(8)
                .setCodePointLimit(LARGEST)
                .build();
        try {
            Object tree = new Load(settings).loadFromString(text);
            if (tree == null) {
                throw new EngineException.InvalidConfig(
                        file + " is empty: expected keys and values, such as  em: {samples: 4}");
            }
            return JsonMapper.shared().valueToTree(tree);
        } catch (MarkedYamlEngineException e) {
            String where = e.getProblemMark()
                    .map(mark -> ":" + (mark.getLine() + 1) + ":" + (mark.getColumn() + 1))
                    .orElse("");
            throw new EngineException.InvalidConfig(file + where + ": not YAML: " + e.getProblem(), e);
        } catch (YamlEngineException e) {
            throw new EngineException.InvalidConfig(file + ": not YAML: " + e.getMessage(), e);
        }
    }
}
