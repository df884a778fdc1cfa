package subtext.bench;

import java.util.ArrayList;
import java.util.List;
import subtext.bindings.Backend;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.bindings.Matmul;

/** What this processor can multiply matrices with: vectors, and a matrix unit where it has one. */
final class Units {
    private Units() {}

    static List<Matmul> here() {
        List<Matmul> units = new ArrayList<>(List.of(Matmul.OWN));
        try (Device device = Device.open(Backend.CPU, DeviceOptions.defaults().withMatmul(Matmul.AMX))) {
            units.add(device.matmul());
        } catch (EngineException.BackendUnavailable none) {
            // vectors alone
        }
        return units;
    }

    /** How the tables call us. */
    static String name(Matmul unit) {
        return unit == Matmul.OWN
                ? "subtext"
                : "subtext --matmul " + unit.name().toLowerCase(java.util.Locale.ROOT);
    }
}
