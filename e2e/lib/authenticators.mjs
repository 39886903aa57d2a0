// Authenticators that are not real, which only Chromium offers (WebDriver's virtual authenticators, over its own protocol).

/** The virtual authenticators of a page. */
export class Authenticators {
  static async of(page) {
    const session = await page.handle.createCDPSession();
    await session.send("WebAuthn.enable");
    return Object.assign(new Authenticators(), { session });
  }

  /** Adds one; verifies is whether it verifies its user when it is asked to. */
  async add({ hasPrf = true, transport = "internal", verifies = true } = {}) {
    const { authenticatorId } = await this.session.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", ctap2Version: "ctap2_1", transport, hasResidentKey: true, hasUserVerification: true, hasPrf, isUserVerified: verifies, automaticPresenceSimulation: true },
    });
    return authenticatorId;
  }

  remove(authenticatorId) {
    return this.session.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId });
  }

  /** Whether it answers when it is asked. */
  present(authenticatorId, enabled) {
    return this.session.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled });
  }

  async credentials(authenticatorId) {
    return (await this.session.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
  }
}
