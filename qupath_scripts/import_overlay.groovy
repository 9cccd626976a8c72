/*
 * Loads the overlay of wsiparse into QuPath: cells as detections, regions as locked annotations.
 *
 * QuPath 0.5.1 or newer. Objects are read one by one, so a million of them need no more memory than QuPath itself wants
 * for them; a bad one is left out and counted instead of spoiling its whole file. Objects of an earlier import are
 * replaced, whatever else is on the image stays. The files are read to their end before anything changes.
 *
 * In the script editor: set RESULTS below, then Run > Run (this image) or Run > Run for project.
 * Without a window:     QuPath script -p project.qpproj -s -a /path/to/results import_overlay.groovy
 */

import com.google.gson.Gson
import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParseException
import com.google.gson.JsonParser
import com.google.gson.stream.JsonReader
import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import java.nio.charset.StandardCharsets
import java.security.MessageDigest
import java.util.regex.Matcher
import java.util.zip.GZIPInputStream
import qupath.lib.images.ImageData
import qupath.lib.images.servers.ImageServer
import qupath.lib.io.GsonTools
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.projects.Project
import qupath.lib.projects.ProjectImageEntry
import qupath.lib.roi.interfaces.ROI
import qupath.lib.scripting.QP

// ---- settings; what comes with -a goes before them ----

String RESULTS = ''            // results folder, the folder of one slide, or one .geojson(.gz) file    -a /path
boolean WHOLE_PROJECT = false  // every image of the project in one go, saved at once                   -a project=true
boolean CENTROIDS = false      // a point for each cell instead of its outline                          -a centroids=true
boolean RESOLVE = false        // put cells below the annotations around them: hours on large slides    -a resolve=true

// -------------------------------------------------------

Map<String, String> given = readArguments(['project', 'centroids', 'resolve'])
String source = given.getOrDefault('', RESULTS)
boolean wholeProject = given.containsKey('project') ? given.get('project') == 'true' : WHOLE_PROJECT
boolean centroids = given.containsKey('centroids') ? given.get('centroids') == 'true' : CENTROIDS
boolean resolve = given.containsKey('resolve') ? given.get('resolve') == 'true' : RESOLVE
if (source.isEmpty())
    throw new IllegalArgumentException('Where are the results? Set RESULTS at the top of this script, or pass -a /path/to/results')
File results = new File(source)
if (!results.exists())
    throw new FileNotFoundException(source + ': no such file or folder. Check the path of the results.')

ImageData<BufferedImage> current = QP.getCurrentImageData()
Project<BufferedImage> project = QP.getProject()
if (project != null && (wholeProject || current == null))
    importProject(project, current, results, centroids, resolve)
else if (current != null)
    importImage(current, results, QP.getProjectEntry()?.getImageName(), centroids, resolve)
else
    throw new IllegalStateException('No image is open. Open one, or a project.')


/** Reads and saves every image of a project; the one that is open in the viewer is left for its user to save. */
void importProject(Project<BufferedImage> project, ImageData<BufferedImage> current, File results, boolean centroids,
        boolean resolve) {
    String openId = current == null ? null : project.getEntry(current)?.getID()
    List<String> failed = []
    int done = 0
    List<ProjectImageEntry<BufferedImage>> entries = project.getImageList()
    if (entries.size() > 1 && !nameOfOne(results).matches() && !overlayFiles(results, true).isEmpty())
        throw new IllegalArgumentException(results.toString() + ': the overlay of one image, and the project has ' +
            entries.size() + '. Give the results folder, or open the image and leave out the project.')
    for (ProjectImageEntry<BufferedImage> entry : entries) {
        String name = entry.getImageName()
        try {
            if (overlayOf(results, entry.getURIs(), name) == null)
                continue
            if (entry.getID() == openId) {
                if (importImage(current, results, name, centroids, resolve)) {
                    println name + ': open in the viewer, not saved yet: File > Save'
                    done++
                }
                continue
            }
            ImageData<BufferedImage> imageData = entry.readImageData()
            if (imageData == null)
                throw new IOException('the image cannot be opened. Check where its file is.')
            ImageServer<BufferedImage> server = imageData.getServer()
            try {
                if (importImage(imageData, results, name, centroids, resolve)) {
                    entry.saveImageData(imageData)
                    done++
                }
            } finally {
                server.close()
            }
        } catch (IOException | RuntimeException error) {
            // One image must not stop the others; QuPath opens slides late and wraps what fails in exceptions of many kinds.
            println name + ': ERROR: ' + oneLine(error)
            failed << name
        }
    }
    println 'wsiparse: ' + done + ' of ' + entries.size() + ' images got an overlay' +
        (failed.isEmpty() ? '' : ', ' + failed.size() + ' failed: ' + failed.join(', '))
    if (!failed.isEmpty())
        throw new IOException('Import failed for ' + failed.join(', ') + '; the lines above say why.')
}


/** Puts the overlay of one image on it; false if there is none. */
boolean importImage(ImageData<BufferedImage> imageData, File results, String entryName, boolean centroids, boolean resolve) {
    ImageServer<BufferedImage> server = imageData.getServer()
    String name = entryName ?: server.getMetadata().getName()
    File place = overlayOf(results, server.getURIs(), name)
    if (place == null)
        return false
    List<File> files = overlayFiles(place, centroids)
    if (files.isEmpty()) {
        println name + ': no overlay in ' + place + ' (looked for cells, regions and centroids .geojson.gz)'
        return false
    }

    Overlay overlay = new Overlay()
    Gson gson = GsonTools.getInstance()
    for (File file : files)
        overlay.read(file, gson)

    PathObjectHierarchy hierarchy = imageData.getHierarchy()
    List<PathObject> old = replaced(hierarchy, overlay, files)
    if (!old.isEmpty())
        hierarchy.removeObjects(old, true)  // true: what somebody drew inside them stays
    hierarchy.addObjects(overlay.objects)
    if (resolve)
        hierarchy.resolveHierarchy()

    Map<String, Integer> classes = new TreeMap<>()
    int outside = 0
    for (PathObject object : overlay.objects) {
        PathClass pathClass = object.getPathClass()
        classes.merge(pathClass == null ? 'Unclassified' : pathClass.toString(), 1, { Integer a, Integer b -> a + b })
        ROI roi = object.getROI()
        double x = roi.getBoundsX() + roi.getBoundsWidth() / 2
        double y = roi.getBoundsY() + roi.getBoundsHeight() / 2
        if (x < 0 || y < 0 || x > server.getWidth() || y > server.getHeight())
            outside++
    }
    String counts = classes.collect { String k, Integer n -> n + ' ' + k }.join(', ')
    println name + ': ' + overlay.objects.size() + ' objects added' + (counts ? ' (' + counts + ')' : '') + ', ' +
        old.size() + ' of an earlier import removed, ' + overlay.skipped + ' skipped, from ' +
        files.collect { File f -> f.getName() }.join(', ')
    overlay.reasons.each { String reason, Integer n -> println '  skipped ' + n + ': ' + reason }
    if (outside > 0)
        println name + ': WARNING: ' + outside + ' of ' + overlay.objects.size() + ' objects fall outside the image (' +
            server.getWidth() + ' x ' + server.getHeight() + ' px). ' + overlay.frame() +
            ' Is it of another slide, or does this reader show another part of the canvas (--coords qupath or level0)?'
    String other = sizeWarning(place, overlay, server.getWidth(), server.getHeight())
    if (other != null)
        println name + ': WARNING: ' + other
    return true
}


/** The slide's folder (or the file itself) below what was given, or null when nothing there is of this image. */
File overlayOf(File results, Collection<URI> uris, String imageName) {
    Set<String> stems = new LinkedHashSet<>()
    Set<String> hashes = new LinkedHashSet<>()
    for (URI uri : uris) {
        if (uri.getPath() == null)
            continue
        stems << safeStem(new File(uri.getPath()).getName())
        hashes << hash8(uri.getScheme() == 'file' ? new File(uri.getPath()).getAbsolutePath() : uri.toString())
    }
    if (stems.isEmpty())
        stems << safeStem(imageName)

    Matcher one = nameOfOne(results)
    if (one.matches()) {
        if (one.group(1) in stems)
            return results
        println imageName + ': left as it is, ' + one.group() + ' is of another slide'
        return null
    }
    if (results.isFile())
        return results
    if (!overlayFiles(results, true).isEmpty())
        return results  // a renamed folder of one slide

    File below = new File(results, 'slides')
    File[] folders = (below.isDirectory() ? below : results).listFiles()
    List<File> found = []
    for (File folder : folders.sort(false)) {
        Matcher match = folder.getName() =~ /(.+)__[0-9a-f]{8}/
        if (folder.isDirectory() && match.matches() && match.group(1) in stems)
            found << folder
    }
    List<File> exact = found.findAll { File folder -> folder.getName()[-8..-1] in hashes }
    if (found.size() > 1 && exact.size() == 1)
        found = exact
    if (found.size() == 1)
        return found.first()
    if (found.isEmpty())
        println imageName + ': left as it is, no results of ' + stems.join(' or ') + ' in ' + results
    else
        println imageName + ': left as it is, ' + found.size() + ' results carry its name: ' +
            found.collect { File folder -> folder.getName() }.join(', ') + '. Give the folder of the right one.'
    return null
}


/** Does the folder (or that of the file) belong to one slide? Matches with the slide's stem then. */
Matcher nameOfOne(File results) {
    File folder = results.isFile() ? results.getAbsoluteFile().getParentFile() : results.getAbsoluteFile()
    return folder.getName() =~ /(.+)__[0-9a-f]{8}/
}


/** The files to read, in order: cells (or centroids) in all their parts, then regions. */
List<File> overlayFiles(File place, boolean centroids) {
    if (place.isFile())
        return [place]
    List<File> cells = partsOf(place, 'cells')
    List<File> points = partsOf(place, 'centroids')
    List<File> chosen = centroids && !points.isEmpty() || cells.isEmpty() ? points : cells
    return chosen + partsOf(place, 'regions')
}


/** X.geojson.gz or X.part001.geojson.gz, X.part002.geojson.gz, ...; all of them, or an error. */
List<File> partsOf(File folder, String kind) {
    for (String suffix : ['.geojson.gz', '.geojson']) {
        File whole = new File(folder, kind + suffix)
        if (whole.isFile())
            return [whole]
        List<File> parts = []
        for (File file : folder.listFiles())
            if (file.getName().startsWith(kind + '.part') && file.getName().endsWith(suffix))
                parts << file
        if (parts.isEmpty())
            continue
        for (int k = 1; k <= parts.size(); k++) {
            File part = new File(folder, kind + String.format('.part%03d', k) + suffix)
            if (!part.isFile())
                throw new FileNotFoundException(part.toString() + ': missing among ' + parts.size() + ' parts. Export again.')
            parts[k - 1] = part
        }
        return parts
    }
    return []
}


/** Objects of ours that the new ones take the place of: those of the same kind (cells with their grid, or regions). */
List<PathObject> replaced(PathObjectHierarchy hierarchy, Overlay overlay, List<File> files) {
    // by name, too: a file of cells without any cell still says that earlier ones are gone
    boolean detections = files.any { File f -> f.getName() =~ /^(cells|centroids)\./ } ||
        overlay.objects.any { PathObject o -> o.isDetection() }
    boolean annotations = files.any { File f -> f.getName() =~ /^regions\./ } ||
        overlay.objects.any { PathObject o -> o.isAnnotation() }
    List<PathObject> candidates = []
    if (detections)
        candidates.addAll(hierarchy.getDetectionObjects())
    if (annotations)
        candidates.addAll(hierarchy.getAnnotationObjects())
    List<PathObject> old = []
    for (PathObject object : candidates)
        if (Overlay.isOurs(object))
            old << object
    return old
}


/** What does not fit between the results and the image, or null. */
String sizeWarning(File place, Overlay overlay, int width, int height) {
    File manifest = new File(place.isFile() ? place.getAbsoluteFile().getParentFile() : place, 'DONE.json')
    if (!manifest.isFile() || overlay.origin == null)
        return null
    int[] bounds = null
    int[] size = null
    manifest.withReader('UTF-8') { Reader reader ->
        JsonElement slide = JsonParser.parseReader(reader).getAsJsonObject().get('slide')
        JsonObject facts = slide != null && slide.isJsonObject() ? slide.getAsJsonObject() : new JsonObject()
        if (facts.has('bounds') && facts.has('size')) {
            bounds = integers(facts.getAsJsonArray('bounds'))
            size = integers(facts.getAsJsonArray('size'))
        }
    }
    if (bounds == null)
        return null
    boolean cropped = overlay.origin[0] == bounds[0] && overlay.origin[1] == bounds[1]
    int w = cropped ? bounds[2] : size[0]
    int h = cropped ? bounds[3] : size[1]
    if (Math.abs(w - width) <= 2 && Math.abs(h - height) <= 2)
        return null
    return 'the overlay is of an image of ' + w + ' x ' + h + ' px, this one has ' + width + ' x ' + height +
        ' px. Is it another slide, or another reader?'
}


int[] integers(JsonArray array) {
    int[] values = new int[array.size()]
    for (int i = 0; i < values.length; i++)
        values[i] = array.get(i).getAsInt()
    return values
}


/** The name of a slide as its results folder spells it: without extension, safe for every file system. */
String safeStem(String fileName) {
    int dot = fileName.lastIndexOf('.')
    String stem = dot > 0 ? fileName.substring(0, dot) : fileName
    String safe = stem.replaceAll(/[^\p{L}\p{N}_.-]+/, '_').replaceAll(/^[._]+|[._]+$/, '')
    if (safe.isEmpty())
        return 'slide'
    return safe.codePointCount(0, safe.length()) > 80 ? safe.substring(0, safe.offsetByCodePoints(0, 80)) : safe
}


/** First eight hexadecimal digits of the SHA-256 of a full path or an address, which results folders end in. */
String hash8(String path) {
    byte[] digest = MessageDigest.getInstance('SHA-256').digest(path.getBytes(StandardCharsets.UTF_8))
    StringBuilder text = new StringBuilder()
    for (int i = 0; i < 4; i++)
        text.append(String.format('%02x', digest[i]))
    return text.toString()
}


String oneLine(Throwable error) {
    return ((error.getMessage() ?: error.getClass().getSimpleName()).replaceAll(/\s+/, ' ')).take(200)
}


/** What came with -a: name=value for the names given here, any other word under ''. */
Map<String, String> readArguments(List<String> names) {
    Object words = getBinding().hasVariable('args') ? getBinding().getVariable('args') : null
    Map<String, String> found = [:]
    for (Object word : (words instanceof Object[] ? (Object[]) words : new Object[0])) {
        String text = word.toString()
        String name = text.contains('=') ? text.substring(0, text.indexOf('=')) : ''
        if (name in names)
            found.put(name, text.substring(name.length() + 1))
        else if (!text.isEmpty())
            found.put('', text)
    }
    return found
}


/** The objects of some files, and what was wrong with the others. */
class Overlay {
    /** Metadata key of regions of ours. */
    static final String TAG = 'wsiparse'

    /** Name of the tiles of density_grid.groovy. */
    static final String GRID = 'wsiparse grid'

    final List<PathObject> objects = []
    final Map<String, Integer> reasons = new TreeMap<>()
    int skipped = 0
    int[] origin = null

    /** Appends the objects of one file; gzip or plain text. */
    void read(File file, Gson gson) throws IOException {
        new BufferedInputStream(new FileInputStream(file), 1 << 16).withCloseable { BufferedInputStream raw ->
            raw.mark(2)
            boolean packed = raw.read() == 0x1f && raw.read() == 0x8b
            raw.reset()
            InputStream plain = packed ? new GZIPInputStream(raw, 1 << 16) : raw
            JsonReader reader = new JsonReader(new InputStreamReader(plain, StandardCharsets.UTF_8))
            try {
                readCollection(reader, gson)
            } catch (IOException | JsonParseException | IllegalStateException error) {
                throw new IOException(file.toString() + ': cannot be read (' + error.getMessage() +
                    '). Nothing was changed. Export it again.', error)
            }
        }
    }

    /**
     * Ids of ours are made from the object (UUID version 5), those of QuPath are random (version 4). Cells carry no other
     * mark: QuPath 0.5 lets none be put on a detection, later versions need 0.4 GB of memory for a million of them.
     */
    static boolean isOurs(PathObject object) {
        if (object.getID().version() == 5)
            return true
        if (object.isTile() && object.getName() == GRID)
            return true
        return (object.isTile() || object.isAnnotation()) && object.getMetadata().containsKey(TAG)
    }

    private void readCollection(JsonReader reader, Gson gson) {
        reader.beginObject()
        while (reader.hasNext()) {
            String key = reader.nextName()
            if (key == 'features') {
                reader.beginArray()
                while (reader.hasNext())
                    add(JsonParser.parseReader(reader), gson)
                reader.endArray()
            } else if (key == 'wsiparse') {
                readFacts(JsonParser.parseReader(reader))
            } else {
                reader.skipValue()
            }
        }
        reader.endObject()
    }

    private void readFacts(JsonElement facts) {
        JsonElement corner = facts.isJsonObject() ? facts.getAsJsonObject().get('origin') : null
        if (corner != null && corner.isJsonArray() && corner.getAsJsonArray().size() == 2)
            origin = [corner.getAsJsonArray().get(0).getAsInt(), corner.getAsJsonArray().get(1).getAsInt()] as int[]
    }

    private void add(JsonElement element, Gson gson) {
        String reason = fault(element)
        PathObject object = null
        JsonElement tags = null
        if (reason == null) {
            JsonElement properties = element.getAsJsonObject().get('properties')
            if (properties != null)
                tags = properties.getAsJsonObject().remove('metadata')  // see isOurs; QuPath 0.5 logs an error for each
            try {
                object = gson.fromJson(element, PathObject)
                ROI roi = object == null ? null : object.getROI()
                if (roi == null || roi.isArea() && roi.getArea() <= 0 || roi.isPoint() && roi.getNumPoints() == 0)
                    reason = 'no outline'
            } catch (RuntimeException error) {
                // QuPath's reader has no exception of its own: what it refuses surfaces as whatever its parts throw.
                reason = (error.getMessage() ?: error.getClass().getSimpleName()).replaceAll(/\s+/, ' ').take(120)
            }
        }
        if (reason != null) {
            skipped++
            // Some reasons carry coordinates: a few different ones are enough.
            String shown = reasons.size() < 20 || reasons.containsKey(reason) ? reason : 'other reasons'
            reasons.merge(shown, 1, { Integer a, Integer b -> a + b })
            return
        }
        UUID id = object.getID()
        if (id.version() != 5)  // a feature without an id: marked as ours all the same
            object.setID(new UUID(id.getMostSignificantBits() & ~0xf000L | 0x5000L, id.getLeastSignificantBits()))
        if (object.isAnnotation())
            tag(object, tags)
        objects << object
    }

    private static void tag(PathObject object, JsonElement tags) {
        Map<String, String> found = [:]
        found.put(TAG, 'imported')
        if (tags != null && tags.isJsonObject())
            for (Map.Entry<String, JsonElement> entry : tags.getAsJsonObject().entrySet())
                if (entry.getValue().isJsonPrimitive())
                    found.put(entry.getKey(), entry.getValue().getAsString())
        try {
            object.getMetadata().putAll(found)
        } catch (UnsupportedOperationException ignored) {
            // a version that lets nothing be put on it: its id tells that it is ours
        }
    }

    /** Why a feature is of no use, or null: what every version of QuPath should refuse, but not all do. */
    @CompileStatic
    private static String fault(JsonElement element) {
        if (!element.isJsonObject())
            return 'not a feature'
        JsonObject feature = element.getAsJsonObject()
        JsonElement geometry = feature.get('geometry')
        if (geometry == null || !geometry.isJsonObject())
            return 'no geometry'
        JsonElement kind = geometry.getAsJsonObject().get('type')
        JsonElement coordinates = geometry.getAsJsonObject().get('coordinates')
        if (kind == null || !kind.isJsonPrimitive())
            return 'a geometry without type'
        if (coordinates == null || !coordinates.isJsonArray() || coordinates.getAsJsonArray().size() == 0)
            return 'no coordinates'
        if (kind.getAsString() == 'Polygon') {
            String reason = ringFault(coordinates.getAsJsonArray())
            if (reason != null)
                return reason
        } else if (kind.getAsString() == 'MultiPolygon') {
            for (JsonElement part : coordinates.getAsJsonArray()) {
                String reason = part.isJsonArray() ? ringFault(part.getAsJsonArray()) : 'malformed coordinates'
                if (reason != null)
                    return reason
            }
        }
        JsonElement properties = feature.get('properties')
        if (properties == null)
            return null
        if (!properties.isJsonObject())
            return 'properties that are no object'
        return classFault(properties.getAsJsonObject().get('classification'))
    }

    @CompileStatic
    private static String ringFault(JsonArray rings) {
        for (JsonElement element : rings) {
            if (!element.isJsonArray())
                return 'malformed coordinates'
            JsonArray ring = element.getAsJsonArray()
            if (ring.size() < 4)
                return 'a ring of fewer than four points'
            if (!ring.get(0).equals(ring.get(ring.size() - 1)))
                return 'a ring that is not closed'
        }
        return null
    }

    @CompileStatic
    private static String classFault(JsonElement classification) {
        if (classification == null)
            return null
        List<JsonElement> names = []
        if (classification.isJsonPrimitive()) {
            names << classification
        } else if (classification.isJsonObject()) {
            JsonObject parts = classification.getAsJsonObject()
            if (parts.has('names') && parts.get('names').isJsonArray())
                parts.getAsJsonArray('names').each { JsonElement name -> names << name }
            else if (parts.has('name'))
                names << parts.get('name')
        }
        if (names.isEmpty())
            return 'a class without name'
        for (JsonElement name : names) {
            if (!name.isJsonPrimitive() || name.getAsString().trim().isEmpty())
                return 'a blank class name'
            if (name.getAsString() =~ /[\r\n]/)
                return 'a class name with a line break'
        }
        return null
    }

    /** Where the coordinates start, in words. */
    String frame() {
        return origin == null ? 'The overlay does not say where its coordinates start.'
            : 'The overlay starts at ' + origin[0] + ', ' + origin[1] + ' of the scanned canvas.'
    }
}
