import js from "@eslint/js";
import globals from "globals";

export default [
  {ignores: ["**/*", "!dcacn_nb/", "!dcacn_nb/widgets/", "!dcacn_nb/widgets/static/", "!dcacn_nb/widgets/static/*.js"]},
  js.configs.recommended,
  {
    languageOptions: {ecmaVersion: 2023, sourceType: "module", globals: globals.browser},
    linterOptions: {reportUnusedDisableDirectives: "error"},
    rules: {
      "one-var": ["error", "never"],
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      curly: ["error", "multi-line"],
      "no-implicit-globals": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-nested-ternary": "off",
      "no-unused-vars": ["error", {argsIgnorePattern: "^_"}],
      "max-len": ["error", {code: 120}],
      "max-lines-per-function": ["error", {max: 60, skipBlankLines: true, skipComments: true}],
      // Text from outside reaches the page through textContent alone.
      "no-restricted-properties": [
        "error",
        {property: "innerHTML"},
        {property: "outerHTML"},
        {property: "insertAdjacentHTML"},
      ],
    },
  },
];
