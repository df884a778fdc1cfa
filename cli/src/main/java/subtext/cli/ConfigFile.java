package subtext.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import subtext.bindings.EngineException;
import subtext.io.WholeFile;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** A configuration file: YAML, or JSON, which is a part of it. Only maps, lists, texts, numbers and truth values; no tags, few aliases. */
final class ConfigFile {
    private static final int LARGEST = 1 << 20;
    private static final int DEEPEST = 16;

    private ConfigFile() {}

    /**
     * @return the content as a tree of JSON
     * @throws EngineException.InvalidConfig if it cannot be read, naming line and column
     */
    static JsonNode read(Path file) {
        String text;
        try {
            text = WholeFile.text(file, LARGEST);
        } catch (IOException | EngineException.InvalidInput e) {
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
            return json(tree, 0, file);
        } catch (StackOverflowError e) {
            throw new EngineException.InvalidConfig(tooDeep(file), e); // the parser has no bound of its own
        } catch (MarkedYamlEngineException e) {
            String where = e.getProblemMark()
                    .map(mark -> ":" + (mark.getLine() + 1) + ":" + (mark.getColumn() + 1))
                    .orElse("");
            throw new EngineException.InvalidConfig(file + where + ": not YAML: " + e.getProblem(), e);
        } catch (YamlEngineException e) {
            throw new EngineException.InvalidConfig(file + ": not YAML: " + e.getMessage(), e);
        }
    }

    /** What YAML made, as JSON; by a collection that holds itself it would never end. */
    private static JsonNode json(Object value, int depth, Path file) {
        if (depth > DEEPEST) {
            throw new EngineException.InvalidConfig(tooDeep(file));
        }
        JsonNodeFactory make = JsonNodeFactory.instance;
        return switch (value) {
            case Map<?, ?> map -> {
                ObjectNode object = make.objectNode();
                map.forEach((key, inner) -> object.set(String.valueOf(key), json(inner, depth + 1, file)));
                yield object;
            }
            case List<?> list -> {
                ArrayNode array = make.arrayNode();
                list.forEach(inner -> array.add(json(inner, depth + 1, file)));
                yield array;
            }
            case null, default -> JsonMapper.shared().valueToTree(value);
        };
    }

    private static String tooDeep(Path file) {
        return file + ": nested too deeply, or a part of it holds itself; settings have two levels";
    }
}
