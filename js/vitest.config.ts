import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node", // a test of a view asks for jsdom in its first line
  },
});
