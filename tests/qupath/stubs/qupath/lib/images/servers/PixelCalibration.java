package qupath.lib.images.servers;

/** Size of a pixel, um; NaN where it is not known, as in QuPath. */
public class PixelCalibration {
    private final double width;
    private final double height;

    public PixelCalibration(double width, double height) {
        this.width = width;
        this.height = height;
    }

    public boolean hasPixelSizeMicrons() {
        return !Double.isNaN(width) && !Double.isNaN(height);
    }

    public double getPixelWidthMicrons() {
        return width;
    }

    public double getPixelHeightMicrons() {
        return height;
    }
}
