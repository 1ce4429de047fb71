// A file of its own, because the page's policy runs no script that stands in the page.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  // Else the address of this server is sent to a public one that judges descriptions.
  validatorUrl: null,
});
