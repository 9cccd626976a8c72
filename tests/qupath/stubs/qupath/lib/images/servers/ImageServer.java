package qupath.lib.images.servers;

import java.net.URI;
import java.util.Collection;

/** An image without its pixels, which no script of ours reads. */
public interface ImageServer<T> extends AutoCloseable {
    Collection<URI> getURIs();

    int getWidth();

    int getHeight();

    PixelCalibration getPixelCalibration();

    ImageServerMetadata getMetadata();
}
