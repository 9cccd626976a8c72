package qupath.lib.measurements;

import java.util.LinkedHashMap;
import java.util.Map;

/** Names and numbers. An interface in QuPath; scripts see no difference. */
public interface MeasurementList extends AutoCloseable {
    void put(String name, double value);

    Map<String, Double> asMap();

    @Override
    void close();

    static MeasurementList create() {
        Map<String, Double> values = new LinkedHashMap<>();
        return new MeasurementList() {
            @Override
            public void put(String name, double value) {
                values.put(name, value);
            }

            @Override
            public Map<String, Double> asMap() {
                return values;
            }

            @Override
            public void close() {
            }
        };
    }
}
