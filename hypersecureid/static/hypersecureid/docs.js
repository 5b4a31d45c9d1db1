// Draws the page /docs from the document next to it. Nothing comes from another host: the badge of an outside
// validator is off. A token that is pasted in stays in this page's memory: it is not kept by the browser.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
});
