package qupath.lib.objects;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import qupath.lib.measurements.MeasurementList;
import qupath.lib.objects.classes.PathClass;
import qupath.lib.roi.interfaces.ROI;

/** Anything on an image. */
public abstract class PathObject {
    /** QuPath 0.5 keeps no metadata of detections, tiles included; 0.6 and later do. */
    public static boolean detectionsKeepMetadata = true;

    /** In no version that is known; whoever relies on annotations to keep metadata would not notice. */
    public static boolean annotationsKeepMetadata = true;

    private UUID id = UUID.randomUUID();
    private final ROI roi;
    private PathClass pathClass;
    private String name;
    private boolean locked;
    private final MeasurementList measurements = MeasurementList.create();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    PathObject(ROI roi, PathClass pathClass) {
        this.roi = roi;
        this.pathClass = pathClass;
    }

    public UUID getID() {
        return id;
    }

    public void setID(UUID id) {
        this.id = id;
    }

    public ROI getROI() {
        return roi;
    }

    public boolean hasROI() {
        return roi != null;
    }

    public PathClass getPathClass() {
        return pathClass;
    }

    public void setPathClass(PathClass pathClass) {
        this.pathClass = pathClass;
    }

    public String getName() {
        return name;
    }

    public void setName(String name) {
        this.name = name;
    }

    public boolean isLocked() {
        return locked;
    }

    public void setLocked(boolean locked) {
        this.locked = locked;
    }

    public boolean isAnnotation() {
        return this instanceof PathAnnotationObject;
    }

    /** True for tiles, too. */
    public boolean isDetection() {
        return this instanceof PathDetectionObject;
    }

    public boolean isTile() {
        return this instanceof PathTileObject;
    }

    public MeasurementList getMeasurementList() {
        return measurements;
    }

    public Map<String, String> getMetadata() {
        boolean kept = isDetection() ? detectionsKeepMetadata : annotationsKeepMetadata;
        return kept ? metadata : Collections.unmodifiableMap(metadata);
    }

    /** For tests: what an image was saved with. */
    public void restoreMetadata(String key, String value) {
        metadata.put(key, value);
    }
}
