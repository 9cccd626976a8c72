package qupath.lib.roi;

import org.locationtech.jts.geom.Coordinate;
import org.locationtech.jts.geom.Envelope;
import org.locationtech.jts.geom.Geometry;
import org.locationtech.jts.geom.GeometryFactory;
import qupath.lib.regions.ImagePlane;
import qupath.lib.roi.interfaces.ROI;

/** Makes shapes; all of them keep a JTS geometry. */
public class ROIs {
    public static ROI createRectangleROI(double x, double y, double width, double height, ImagePlane plane) {
        return of(new GeometryFactory().toGeometry(new Envelope(x, x + width, y, y + height)));
    }

    /** GeometryTools.geometryToROI in QuPath. */
    public static ROI of(Geometry geometry) {
        Envelope box = geometry.getEnvelopeInternal();
        Coordinate centre = geometry.getCentroid().getCoordinate();
        return new ROI() {
            @Override
            public double getCentroidX() {
                return centre.x;
            }

            @Override
            public double getCentroidY() {
                return centre.y;
            }

            @Override
            public double getBoundsX() {
                return box.getMinX();
            }

            @Override
            public double getBoundsY() {
                return box.getMinY();
            }

            @Override
            public double getBoundsWidth() {
                return box.getWidth();
            }

            @Override
            public double getBoundsHeight() {
                return box.getHeight();
            }

            @Override
            public int getNumPoints() {
                return geometry.getNumPoints();
            }

            @Override
            public boolean isEmpty() {
                return box.getWidth() == 0 && box.getHeight() == 0;
            }

            @Override
            public boolean isArea() {
                return geometry.getDimension() == 2;
            }

            @Override
            public boolean isPoint() {
                return geometry.getDimension() == 0;
            }

            @Override
            public double getArea() {
                return geometry.getArea();
            }

            @Override
            public Geometry getGeometry() {
                return geometry;
            }
        };
    }
}
