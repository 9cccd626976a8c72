package qupath.lib.objects;

import qupath.lib.objects.classes.PathClass;
import qupath.lib.roi.interfaces.ROI;

/** Made by PathObjects. */
public class PathAnnotationObject extends PathObject {
    PathAnnotationObject(ROI roi, PathClass pathClass) {
        super(roi, pathClass);
    }
}
