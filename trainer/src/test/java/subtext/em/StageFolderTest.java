package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Checkpoints stay until the stage they serve is finished, and no longer unless they are wanted. */
class StageFolderTest {
    @TempDir
    Path folder;

    private static void write(Path file) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "x");
    }

    private StageFolder stage(boolean keep) throws IOException {
        StageFolder stage = new StageFolder(folder, keep);
        write(stage.checkpoints().resolve("step-000003/optimizer.safetensors"));
        write(stage.model().resolve("model.safetensors"));
        return stage;
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void checkpointsGoWhenTheStageIsDone(boolean keep) throws IOException {
        StageFolder stage = stage(keep);
        assertThat(stage.result(String.class)).isEmpty();
        assertThat(stage.checkpoints()).isDirectory();
        stage.finish("measured");
        assertThat(Files.exists(stage.checkpoints())).isEqualTo(keep);
        assertThat(stage.result(String.class)).contains("measured");
        assertThat(Files.exists(stage.checkpoints())).isEqualTo(keep);
        assertThat(stage.model()).isDirectoryContaining(file -> file.endsWith("model.safetensors"));
        assertThat(folder.toFile().list()).noneMatch(name -> name.startsWith("."));
    }

    @Test
    void whatAKillLeftBehindTheSealGoesAtTheNextLook() throws IOException {
        StageFolder stage = stage(true);
        stage.finish("measured");
        assertThat(new StageFolder(folder, false).result(String.class)).contains("measured");
        assertThat(stage.checkpoints()).doesNotExist();
    }
}
