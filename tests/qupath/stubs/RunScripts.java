import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import groovy.lang.Binding;
import groovy.lang.GroovyClassLoader;
import groovy.lang.GroovyRuntimeException;
import groovy.transform.CompileStatic;
import java.awt.image.BufferedImage;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.codehaus.groovy.control.CompilationUnit;
import org.codehaus.groovy.control.CompilerConfiguration;
import org.codehaus.groovy.control.MultipleCompilationErrorsException;
import org.codehaus.groovy.control.Phases;
import org.codehaus.groovy.control.customizers.ASTTransformationCustomizer;
import org.codehaus.groovy.runtime.InvokerHelper;
import org.locationtech.jts.io.ParseException;
import org.locationtech.jts.io.WKTReader;
import qupath.lib.images.ImageData;
import qupath.lib.images.servers.ImageServer;
import qupath.lib.images.servers.ImageServerMetadata;
import qupath.lib.images.servers.PixelCalibration;
import qupath.lib.io.GsonTools;
import qupath.lib.objects.PathObject;
import qupath.lib.objects.PathObjects;
import qupath.lib.objects.classes.PathClass;
import qupath.lib.objects.hierarchy.PathObjectHierarchy;
import qupath.lib.projects.Project;
import qupath.lib.projects.ProjectImageEntry;
import qupath.lib.roi.ROIs;
import qupath.lib.roi.interfaces.ROI;
import qupath.lib.scripting.QP;

/**
 * Compiles or runs scripts.
 *
 * <p>check FILE...: compiles with static type checking, so that a method the stubs do not have is an error; exit 1 then.
 *
 * <p>run: for every line of standard input, SCENARIO tab RESULT, runs the steps of a JSON scenario on images in memory and
 * writes what became of them; answers each with a line of its own, "done" or the error.
 */
public class RunScripts {
    private static final Map<String, Class<?>> SCRIPTS = new HashMap<>();

    public static void main(String[] words) throws Exception {
        if (words[0].equals("check"))
            System.exit(check(words) ? 0 : 1);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] paths = line.split("\t");
            try {
                JsonObject scenario = JsonParser.parseString(Files.readString(Path.of(paths[0]))).getAsJsonObject();
                Files.writeString(Path.of(paths[1]), new Bench(scenario).run().toString());
                System.out.println("done");
            } catch (Exception error) {
                error.printStackTrace();
                System.out.println(error.toString().replaceAll("\\s+", " "));
            }
        }
    }

    private static boolean check(String[] words) {
        boolean good = true;
        for (int i = 1; i < words.length; i++) {
            CompilerConfiguration configuration = new CompilerConfiguration();
            configuration.addCompilationCustomizers(new ASTTransformationCustomizer(CompileStatic.class));
            CompilationUnit unit = new CompilationUnit(configuration);
            unit.addSource(new File(words[i]));
            try {
                unit.compile(Phases.CLASS_GENERATION);
            } catch (MultipleCompilationErrorsException error) {
                System.out.println(error.getMessage());
                good = false;
            }
        }
        return good;
    }

    private static class Bench {
        private final JsonObject scenario;
        private final List<Entry> entries = new ArrayList<>();
        private final List<PathClass> classes = new ArrayList<>();
        private int synchronised;
        private double seconds;

        Bench(JsonObject scenario) throws ParseException {
            this.scenario = scenario;
            PathClass.forgetAll();
            QP.project = null;
            QP.hierarchyUpdates = 0;
            GsonTools.logged = 0;
            PathObject.detectionsKeepMetadata = !scenario.has("detections_keep_no_metadata");
            PathObject.annotationsKeepMetadata = !scenario.has("annotations_keep_no_metadata");
            for (JsonElement image : scenario.getAsJsonArray("images"))
                entries.add(new Entry(image.getAsJsonObject(), entries.size()));
            if (scenario.has("project"))
                QP.project = new MemoryProject();
        }

        JsonArray run() throws Exception {
            JsonArray results = new JsonArray();
            for (JsonElement step : scenario.getAsJsonArray("steps")) {
                JsonObject fields = step.getAsJsonObject();
                StringWriter printed = new StringWriter();
                String error = null;
                if (fields.has("each")) {  // Run for project, or -p project -s
                    for (Entry entry : entries) {
                        QP.imageData = entry.readImageData();
                        String raised = runOnce(fields, printed);
                        error = error == null ? raised : error;
                        entry.saveImageData(QP.imageData);
                    }
                    QP.imageData = null;
                } else {
                    QP.imageData = fields.has("open") ? entries.get(fields.get("open").getAsInt()).open() : null;
                    error = runOnce(fields, printed);
                }
                results.add(state(printed.toString(), error));
            }
            return results;
        }

        private String runOnce(JsonObject step, StringWriter printed) throws IOException {
            long start = System.nanoTime();
            try {
                return evaluated(step, printed);
            } finally {
                seconds = (System.nanoTime() - start) / 1e9;
            }
        }

        private static String evaluated(JsonObject step, StringWriter printed) throws IOException {
            Binding binding = new Binding();
            binding.setVariable("out", new PrintWriter(printed, true));
            if (step.has("args"))
                binding.setVariable("args", new Gson().fromJson(step.get("args"), String[].class));
            try {
                String path = step.get("script").getAsString();
                Class<?> script = SCRIPTS.get(path);
                if (script == null) {
                    script = new GroovyClassLoader(RunScripts.class.getClassLoader()).parseClass(new File(path));
                    SCRIPTS.put(path, script);
                }
                InvokerHelper.createScript(script, binding).run();
                return null;
            } catch (RuntimeException | IOException error) {
                if (error instanceof MultipleCompilationErrorsException || error instanceof GroovyRuntimeException)
                    throw error;
                return error.getClass().getSimpleName() + ": " + error.getMessage();
            }
        }

        private JsonObject state(String printed, String error) {
            JsonObject state = new JsonObject();
            state.addProperty("seconds", seconds);
            state.addProperty("printed", printed);
            state.add("error", error == null ? JsonNull.INSTANCE : JsonParser.parseString(new Gson().toJson(error)));
            JsonArray images = new JsonArray();
            for (Entry entry : entries)
                images.add(entry.state());
            state.add("images", images);
            JsonArray names = new JsonArray();
            classes.forEach(c -> names.add(c.getName()));
            state.add("classes", names);
            state.addProperty("synchronised", synchronised);
            state.addProperty("hierarchy_updates", QP.hierarchyUpdates);
            state.addProperty("logged", GsonTools.logged);
            return state;
        }

        private class MemoryProject implements Project<BufferedImage> {
            @Override
            public List<ProjectImageEntry<BufferedImage>> getImageList() {
                return new ArrayList<>(entries);
            }

            @Override
            public ProjectImageEntry<BufferedImage> getEntry(ImageData<BufferedImage> imageData) {
                for (Entry entry : entries)
                    if (entry.server == imageData.getServer())
                        return entry;
                return null;
            }

            @Override
            public List<PathClass> getPathClasses() {
                return classes;
            }

            @Override
            public boolean setPathClasses(Collection<? extends PathClass> wanted) {
                classes.clear();
                classes.addAll(wanted);
                return true;
            }

            @Override
            public void syncChanges() {
                synchronised++;
            }
        }
    }

    /** An image of the scenario: the viewer's copy of it, and what was saved last. */
    private static class Entry implements ProjectImageEntry<BufferedImage> {
        private final JsonObject fields;
        private final int number;
        final ImageServer<BufferedImage> server;
        private List<PathObject> saved = new ArrayList<>();
        private ImageData<BufferedImage> open;
        private PathObjectHierarchy last;
        private int saves;
        private int closed;

        Entry(JsonObject fields, int number) throws ParseException {
            this.fields = fields;
            this.number = number;
            server = new Server();
            for (JsonElement element : fields.getAsJsonArray("objects"))
                saved.add(object(element.getAsJsonObject()));
        }

        private static PathObject object(JsonObject fields) throws ParseException {
            ROI roi = ROIs.of(new WKTReader().read(fields.get("wkt").getAsString()));
            PathClass pathClass = fields.has("class") ? PathClass.fromString(fields.get("class").getAsString()) : null;
            PathObject object = switch (fields.get("type").getAsString()) {
                case "annotation" -> PathObjects.createAnnotationObject(roi, pathClass);
                case "detection" -> PathObjects.createDetectionObject(roi, pathClass);
                default -> PathObjects.createTileObject(roi);
            };
            if (fields.has("id"))
                object.setID(UUID.fromString(fields.get("id").getAsString()));
            if (fields.has("name"))
                object.setName(fields.get("name").getAsString());
            if (fields.has("metadata"))
                fields.getAsJsonObject("metadata").entrySet().forEach(e -> object.restoreMetadata(e.getKey(), e.getValue().getAsString()));
            return object;
        }

        ImageData<BufferedImage> open() {
            if (open == null) {
                open = new ImageData<>(server);
                open.getHierarchy().all().addAll(saved);
                int k = 0;
                for (PathObject object : saved)
                    if (fields.getAsJsonArray("objects").get(k++).getAsJsonObject().has("selected"))
                        open.getHierarchy().getSelectionModel().getSelectedObjects().add(object);
                last = open.getHierarchy();
            }
            return open;
        }

        @Override
        public String getID() {
            return Integer.toString(number);
        }

        @Override
        public String getImageName() {
            return fields.get("name").getAsString();
        }

        @Override
        public Collection<URI> getURIs() {
            return server.getURIs();
        }

        @Override
        public ImageData<BufferedImage> readImageData() throws IOException {
            if (fields.has("unreadable"))
                throw new IOException("cannot open " + fields.get("uri"));
            ImageData<BufferedImage> read = new ImageData<>(server);
            read.getHierarchy().all().addAll(saved);
            last = read.getHierarchy();
            return read;
        }

        @Override
        public void saveImageData(ImageData<BufferedImage> imageData) {
            saved = new ArrayList<>(imageData.getHierarchy().all());
            saves++;
        }

        JsonObject state() {
            JsonObject state = new JsonObject();
            state.addProperty("saves", saves);
            state.addProperty("closed", closed);
            if (last != null) {
                state.addProperty("additions", last.additions);
                state.addProperty("removals", last.removals);
                state.addProperty("lost_children", last.lostChildren);
                state.addProperty("resolved", last.resolved);
                state.addProperty("measurements_changed", last.measurementsChanged);
            }
            Collection<PathObject> shown = open != null ? open.getHierarchy().all() : saved;
            state.addProperty("count", shown.size());
            if (!fields.has("count_only")) {
                state.add("objects", objects(shown));
                state.add("saved", objects(saved));
            }
            return state;
        }

        private static JsonArray objects(Collection<PathObject> objects) {
            Gson gson = new GsonBuilder().serializeSpecialFloatingPointValues().create();
            JsonArray array = new JsonArray();
            for (PathObject object : objects) {
                JsonObject fields = new JsonObject();
                fields.addProperty("type", object.isTile() ? "tile" : object.isDetection() ? "detection" : "annotation");
                fields.addProperty("id", object.getID().toString());
                fields.addProperty("wkt", object.getROI().getGeometry().toText());
                fields.addProperty("locked", object.isLocked());
                if (object.getName() != null)
                    fields.addProperty("name", object.getName());
                if (object.getPathClass() != null) {
                    fields.addProperty("class", object.getPathClass().getName());
                    fields.addProperty("color", object.getPathClass().getColor());
                }
                fields.add("metadata", gson.toJsonTree(object.getMetadata(), Map.class));
                fields.add("measurements", gson.toJsonTree(object.getMeasurementList().asMap(), Map.class));
                array.add(fields);
            }
            return array;
        }

        private class Server implements ImageServer<BufferedImage> {
            @Override
            public Collection<URI> getURIs() {
                return fields.has("uri") ? List.of(URI.create(fields.get("uri").getAsString())) : List.of();
            }

            @Override
            public int getWidth() {
                return fields.get("width").getAsInt();
            }

            @Override
            public int getHeight() {
                return fields.get("height").getAsInt();
            }

            @Override
            public PixelCalibration getPixelCalibration() {
                if (!fields.has("mpp"))
                    return new PixelCalibration(Double.NaN, Double.NaN);
                JsonArray mpp = fields.getAsJsonArray("mpp");
                return new PixelCalibration(mpp.get(0).getAsDouble(), mpp.get(1).getAsDouble());
            }

            @Override
            public ImageServerMetadata getMetadata() {
                return new ImageServerMetadata(getImageName());
            }

            @Override
            public void close() {
                closed++;
            }
        }
    }
}
