package qupath.lib.objects;

import qupath.lib.objects.classes.PathClass;
import qupath.lib.roi.interfaces.ROI;

/** Made by PathObjects. */
public class PathTileObject extends PathDetectionObject {
    PathTileObject(ROI roi, PathClass pathClass) {
        super(roi, pathClass);
    }
}
