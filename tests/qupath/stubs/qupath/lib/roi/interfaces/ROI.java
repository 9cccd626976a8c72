package qupath.lib.roi.interfaces;

import org.locationtech.jts.geom.Geometry;

/** A shape in pixels of the full image. */
public interface ROI {
    double getCentroidX();

    double getCentroidY();

    double getBoundsX();

    double getBoundsY();

    double getBoundsWidth();

    double getBoundsHeight();

    int getNumPoints();

    boolean isEmpty();

    boolean isArea();

    boolean isPoint();

    double getArea();

    Geometry getGeometry();
}
