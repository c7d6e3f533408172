// The HTTP reference, for people: what /openapi.json says, to read and to try out.

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // It would send the document to a service of others.
});
