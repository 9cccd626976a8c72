package qupath.lib.io;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonDeserializationContext;
import com.google.gson.JsonDeserializer;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import java.lang.reflect.Type;
import java.util.Map;
import java.util.UUID;
import org.locationtech.jts.geom.Coordinate;
import org.locationtech.jts.geom.Geometry;
import org.locationtech.jts.geom.GeometryFactory;
import org.locationtech.jts.geom.LinearRing;
import org.locationtech.jts.geom.Polygon;
import org.locationtech.jts.operation.valid.IsValidOp;
import qupath.lib.common.ColorTools;
import qupath.lib.objects.PathObject;
import qupath.lib.objects.PathObjects;
import qupath.lib.objects.classes.PathClass;
import qupath.lib.roi.ROIs;
import qupath.lib.roi.interfaces.ROI;

/** Reads features, and refuses with unchecked exceptions what QuPath's reader refuses. */
public class GsonTools {
    /** Exceptions that the reader wrote to the log before it went on. */
    public static int logged;

    private static final GeometryFactory FACTORY = new GeometryFactory();

    public static Gson getInstance() {
        return new GsonBuilder().setLenient().registerTypeAdapter(PathObject.class, new Reader()).create();
    }

    private static class Reader implements JsonDeserializer<PathObject> {
        @Override
        public PathObject deserialize(JsonElement json, Type type, JsonDeserializationContext context) {
            JsonObject feature = json.getAsJsonObject();
            ROI roi = ROIs.of(geometry(feature.getAsJsonObject("geometry")));
            JsonObject properties = feature.has("properties") ? feature.getAsJsonObject("properties") : new JsonObject();
            PathClass pathClass = properties.has("classification") ? pathClass(properties.get("classification")) : null;
            String kind = properties.has("objectType") ? properties.get("objectType").getAsString() : "annotation";
            PathObject object = kind.equals("detection")
                ? PathObjects.createDetectionObject(roi, pathClass)
                : PathObjects.createAnnotationObject(roi, pathClass);
            if (feature.has("id"))
                object.setID(UUID.fromString(feature.get("id").getAsString()));
            if (properties.has("name"))
                object.setName(properties.get("name").getAsString());
            if (properties.has("isLocked"))
                object.setLocked(properties.get("isLocked").getAsBoolean());
            if (properties.has("measurements"))
                for (Map.Entry<String, JsonElement> entry : properties.getAsJsonObject("measurements").entrySet())
                    object.getMeasurementList().put(entry.getKey(), entry.getValue().getAsDouble());
            if (properties.has("metadata"))
                try {
                    for (Map.Entry<String, JsonElement> entry : properties.getAsJsonObject("metadata").entrySet())
                        object.getMetadata().put(entry.getKey(), entry.getValue().getAsString());
                } catch (UnsupportedOperationException error) {
                    logged++;
                }
            return object;
        }
    }

    private static PathClass pathClass(JsonElement json) {
        if (json.isJsonPrimitive())
            return PathClass.fromString(json.getAsString());
        JsonObject parts = json.getAsJsonObject();
        if (!parts.has("name") || !parts.has("color"))
            throw new JsonParseException("not a class: " + json);
        JsonArray rgb = parts.getAsJsonArray("color");
        int color = ColorTools.packRGB(rgb.get(0).getAsInt(), rgb.get(1).getAsInt(), rgb.get(2).getAsInt());
        return PathClass.fromString(parts.get("name").getAsString(), color);
    }

    private static Geometry geometry(JsonObject json) {
        JsonArray coordinates = json.getAsJsonArray("coordinates");
        String type = json.get("type").getAsString();
        Geometry shape;
        if (type.equals("Point"))
            return FACTORY.createPoint(position(coordinates));
        if (type.equals("Polygon")) {
            shape = polygon(coordinates);
        } else if (type.equals("MultiPolygon")) {
            Polygon[] parts = new Polygon[coordinates.size()];
            for (int i = 0; i < parts.length; i++)
                parts[i] = polygon(coordinates.get(i).getAsJsonArray());
            shape = FACTORY.createMultiPolygon(parts);
        } else {
            throw new JsonParseException("no shape of this kind: " + type);
        }
        IsValidOp validity = new IsValidOp(shape);
        validity.setSelfTouchingRingFormingHoleValid(true);
        if (!validity.isValid())
            throw new IllegalArgumentException("invalid shape: " + validity.getValidationError());
        return shape;
    }

    private static Polygon polygon(JsonArray rings) {
        LinearRing[] holes = new LinearRing[rings.size() - 1];
        for (int i = 0; i < holes.length; i++)
            holes[i] = ring(rings.get(i + 1).getAsJsonArray());
        return FACTORY.createPolygon(ring(rings.get(0).getAsJsonArray()), holes);
    }

    private static LinearRing ring(JsonArray points) {
        Coordinate[] positions = new Coordinate[points.size()];
        for (int i = 0; i < positions.length; i++)
            positions[i] = position(points.get(i).getAsJsonArray());
        return FACTORY.createLinearRing(positions);
    }

    private static Coordinate position(JsonArray xy) {
        return new Coordinate(xy.get(0).getAsDouble(), xy.get(1).getAsDouble());
    }
}
