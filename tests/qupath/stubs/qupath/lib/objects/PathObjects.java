package qupath.lib.objects;

import qupath.lib.objects.classes.PathClass;
import qupath.lib.roi.interfaces.ROI;

/** Makes objects. */
public class PathObjects {
    public static PathObject createAnnotationObject(ROI roi, PathClass pathClass) {
        return new PathAnnotationObject(required(roi), pathClass);
    }

    public static PathObject createDetectionObject(ROI roi, PathClass pathClass) {
        return new PathDetectionObject(required(roi), pathClass);
    }

    public static PathObject createTileObject(ROI roi) {
        return new PathTileObject(required(roi), null);
    }

    private static ROI required(ROI roi) {
        if (roi == null)
            throw new IllegalArgumentException("an object needs a shape");
        return roi;
    }
}
