/*
 * Writes annotations as GeoJSON for `wsiparse run --roi FILE`: only their inside is analysed.
 *
 * QuPath 0.5.1 or newer. Selected annotations only, if some are selected; otherwise all with area, except regions that
 * wsiparse itself put there. Coordinates are QuPath's own, which `--roi` expects (its default, --coords qupath).
 *
 * In the script editor: set OUT, then Run > Run.
 * Without a window:     QuPath script -p project.qpproj -a out=/path/to/folder -a class=Tumor export_regions.groovy
 */

import com.google.gson.stream.JsonWriter
import java.awt.image.BufferedImage
import java.nio.charset.StandardCharsets
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption
import java.security.MessageDigest
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.LinearRing
import org.locationtech.jts.geom.Polygon
import qupath.lib.images.ImageData
import qupath.lib.images.servers.ImageServer
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.scripting.QP

// ---- settings; what comes with -a goes before them ----

String OUT = ''                // regions.geojson, or a folder for one file an image            -a out=/path
String CLASS = ''              // annotations of this class only                                -a class=Tumor
boolean OURS = false           // regions found by wsiparse, too                                -a ours=true

// -------------------------------------------------------

Map<String, String> given = readArguments(['out', 'class', 'ours'])
String out = given.getOrDefault('out', given.getOrDefault('', OUT))
String only = given.getOrDefault('class', CLASS)
boolean ours = given.containsKey('ours') ? given.get('ours') == 'true' : OURS
if (out.isEmpty())
    throw new IllegalArgumentException('Where to? Set OUT at the top of this script, or pass -a out=/path/to/regions.geojson')
ImageData<BufferedImage> imageData = QP.getCurrentImageData()
if (imageData == null)
    throw new IllegalStateException('No image is open. Open one, or pass a project with -p.')
ImageServer<BufferedImage> server = imageData.getServer()
PathObjectHierarchy hierarchy = imageData.getHierarchy()
String image = server.getMetadata().getName()

List<PathObject> chosen = []
int withoutArea = 0
Set<PathObject> selected = hierarchy.getSelectionModel().getSelectedObjects()
boolean some = hierarchy.getAnnotationObjects().any { PathObject o -> selected.contains(o) }
for (PathObject annotation : hierarchy.getAnnotationObjects()) {
    if (some && !selected.contains(annotation))
        continue
    if (!only.isEmpty() && className(annotation) != only)
        continue
    if (!some && !ours && (annotation.getID().version() == 5 || annotation.getMetadata().containsKey('wsiparse')))
        continue  // ids of ours are UUIDs of version 5, those of QuPath random ones
    if (annotation.hasROI() && annotation.getROI().isArea() && !annotation.getROI().isEmpty())
        chosen << annotation
    else
        withoutArea++
}
if (chosen.isEmpty()) {
    println image + ': no annotation with an area' + (only.isEmpty() ? '' : ' of class ' + only) + ', nothing written'
    return
}

File target = targetOf(out, '.geojson', server)
// not createTempFile, whose files only their owner may read
Path temporary = target.toPath().resolveSibling(target.getName() + '.' + UUID.randomUUID() + '.tmp')
try {
    Files.newBufferedWriter(temporary, StandardCharsets.UTF_8).withCloseable { BufferedWriter text ->
        JsonWriter writer = new JsonWriter(text)
        writer.beginObject()
        writer.name('type').value('FeatureCollection')
        writer.name('features').beginArray()
        for (PathObject annotation : chosen)
            writeFeature(writer, annotation)
        writer.endArray()
        writer.endObject()
        writer.flush()
    }
    Files.move(temporary, target.toPath(), StandardCopyOption.REPLACE_EXISTING)
} finally {
    Files.deleteIfExists(temporary)
}
println image + ': wrote ' + chosen.size() + ' annotations to ' + target +
    (withoutArea > 0 ? ', left out ' + withoutArea + ' without area (points, lines)' : '')


void writeFeature(JsonWriter writer, PathObject annotation) {
    Geometry geometry = annotation.getROI().getGeometry()
    List<Polygon> polygons = []
    for (int i = 0; i < geometry.getNumGeometries(); i++)
        if (geometry.getGeometryN(i) instanceof Polygon)
            polygons << (Polygon) geometry.getGeometryN(i)
    writer.beginObject()
    writer.name('type').value('Feature')
    writer.name('id').value(annotation.getID().toString())
    writer.name('geometry').beginObject()
    writer.name('type').value(polygons.size() == 1 ? 'Polygon' : 'MultiPolygon')
    writer.name('coordinates')
    if (polygons.size() != 1)
        writer.beginArray()
    for (Polygon polygon : polygons) {
        writer.beginArray()
        writeRing(writer, polygon.getExteriorRing())
        for (int k = 0; k < polygon.getNumInteriorRing(); k++)
            writeRing(writer, polygon.getInteriorRingN(k))
        writer.endArray()
    }
    if (polygons.size() != 1)
        writer.endArray()
    writer.endObject()
    writer.name('properties').beginObject()
    writer.name('objectType').value('annotation')
    if (annotation.getName() != null)
        writer.name('name').value(annotation.getName())
    PathClass pathClass = annotation.getPathClass()
    if (pathClass != null)
        writer.name('classification').value(pathClass.toString())
    writer.endObject()
    writer.endObject()
}


void writeRing(JsonWriter writer, LinearRing ring) {
    writer.beginArray()
    for (Coordinate point : ring.getCoordinates()) {
        writer.beginArray()
        writer.value(point.getX()).value(point.getY())
        writer.endArray()
    }
    writer.endArray()
}


String className(PathObject object) {
    PathClass pathClass = object.getPathClass()
    return pathClass == null ? 'Unclassified' : pathClass.toString()
}


/** The file that `out` names; in a folder, one called as the slide's results folder, so that none collide. */
File targetOf(String out, String suffix, ImageServer<BufferedImage> server) {
    File target = new File(out).getAbsoluteFile()
    if (!out.endsWith(suffix)) {
        URI uri = server.getURIs().isEmpty() ? null : server.getURIs().first()
        boolean local = uri != null && uri.getScheme() == 'file' && uri.getPath() != null
        File slide = new File(local ? uri.getPath() : server.getMetadata().getName())
        String path = local ? slide.getAbsolutePath() : uri == null ? slide.getName() : uri.toString()
        byte[] digest = MessageDigest.getInstance('SHA-256').digest(path.getBytes(StandardCharsets.UTF_8))
        StringBuilder name = new StringBuilder(safeStem(slide.getName()) + '__')
        for (int i = 0; i < 4; i++)
            name.append(String.format('%02x', digest[i]))
        target = new File(target, name + suffix)
    }
    Files.createDirectories(target.getParentFile().toPath())
    return target
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
